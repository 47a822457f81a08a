//! Floats with the precision of INCRBYFLOAT.
