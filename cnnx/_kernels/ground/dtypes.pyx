"""A kernel of both floating types as one function."""


cdef class by_dtype:
    """Decorator of a fused kernel: calls the one for the type of its first argument.

    That is the kernel for floats where a number has 4 bytes, else the one for doubles: of arrays of any other type,
    and of arguments of two types, the typed memoryviews of the kernel say what they expected and what came.
    """

    cdef readonly object __wrapped__, __name__
    cdef object for_float, for_double
    cdef str first  # argument

    def __init__(self, kernel):
        self.for_float, self.for_double = kernel["float"], kernel["double"]
        self.first = self.for_float.__code__.co_varnames[0]
        self.__wrapped__ = self.for_float   # whose signature `inspect` shows
        self.__name__ = kernel.__name__

    def __getattr__(self, name):
        """All else, such as the name of its module, is that of the kernel for floats."""
        return getattr(self.__wrapped__, name)

    def __call__(self, *args, **named):
        array = args[0] if args else named.get(self.first)
        return (self.for_float if getattr(array, "itemsize", 0) == 4 else self.for_double)(*args, **named)
