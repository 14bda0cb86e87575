// The parts of hubfast._native: each adds its functions to the module.
#pragma once

#include <pybind11/pybind11.h>

void bind_linear_algebra(pybind11::module_& m);
void bind_convolution(pybind11::module_& m);
