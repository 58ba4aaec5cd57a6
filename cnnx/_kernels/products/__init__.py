"""The products that convolutions and dense layers are made of."""
