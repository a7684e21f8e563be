// What `doctor` asks the CUDA runtime; in `_cuda` only.
#pragma once

#include <pybind11/pybind11.h>

namespace alexnet::bindings {

void bind_device(pybind11::module_& module);

}  // namespace alexnet::bindings
