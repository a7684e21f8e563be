// The operations of the extension, one function an op; `_cuda` and `_simt` bind the same ones.
#pragma once

#include <pybind11/pybind11.h>

namespace alexnet::bindings {

void bind_elementwise(pybind11::module_& module);
void bind_activation(pybind11::module_& module);
void bind_copy(pybind11::module_& module);
void bind_bias(pybind11::module_& module);
void bind_dropout(pybind11::module_& module);
void bind_softmax_cross_entropy(pybind11::module_& module);
void bind_sgd(pybind11::module_& module);
void bind_lrn(pybind11::module_& module);
void bind_map_lrn(pybind11::module_& module);
void bind_max_pool(pybind11::module_& module);
void bind_avg_pool(pybind11::module_& module);
void bind_lrn_max_pool(pybind11::module_& module);
void bind_augment(pybind11::module_& module);
void bind_conv2d(pybind11::module_& module);

inline void bind_ops(pybind11::module_& module) {
  bind_elementwise(module);
  bind_activation(module);
  bind_copy(module);
  bind_bias(module);
  bind_dropout(module);
  bind_softmax_cross_entropy(module);
  bind_sgd(module);
  bind_lrn(module);
  bind_map_lrn(module);
  bind_max_pool(module);
  bind_avg_pool(module);
  bind_lrn_max_pool(module);
  bind_augment(module);
  bind_conv2d(module);
}

}  // namespace alexnet::bindings
