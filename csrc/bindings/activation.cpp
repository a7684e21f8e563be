#include "ops/activation.h"

#include <utility>

#include <pybind11/stl.h>

#include "bindings/ops.h"
#include "bindings/tensor.h"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

template <size_t kEntry>
void activation_fprop(const Tensor& x, const Tensor& y, uintptr_t stream) {
  const auto* const input = x.data<const void>();
  launch_activation_fprop({kEntry, input, y.like(x).data<void>(), x.count(), x.floating()}, to_stream(stream));
}

template <size_t kEntry>
void activation_bprop(const Tensor& y, const Tensor& dy, const Tensor& dx, uintptr_t stream) {
  ActivationBpropParams params{};
  params.function = kEntry;
  params.dtype = y.floating();
  params.count = y.count();
  params.y = y.data<const void>();
  params.dy = dy.like(y).data<const void>();
  params.dx = dx.like(y).data<void>();
  launch_activation_bprop(params, to_stream(stream));
}

template <size_t... kEntries>
void bind_table(py::module_& module, std::index_sequence<kEntries...>) {
  const auto bind = [&](const std::string& name, auto fprop, auto bprop) {
    bind_launch(module, (name + "_fprop").c_str(), fprop, ("y = " + name + "(x); y may be x.").c_str(), "x"_a, "y"_a);
    bind_launch(module, (name + "_bprop").c_str(), bprop,
                ("dx = dy * the slope of " + name + " where it gave y; dx may be y or dy.").c_str(), "y"_a, "dy"_a,
                "dx"_a);
  };
  (bind(std::tuple_element_t<kEntries, ActivationTable>::kName, &activation_fprop<kEntries>,
        &activation_bprop<kEntries>),
   ...);
}

}  // namespace

void bind_activation(py::module_& module) {
  bind_table(module, std::make_index_sequence<std::tuple_size_v<ActivationTable>>());
}

}  // namespace alexnet::bindings
