"""What `Model.verify` returns, and raises."""

from cnnx.inspection.verification import Report, VerificationError

__all__ = ["Report", "VerificationError"]
