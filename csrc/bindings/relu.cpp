#include "ops/relu.h"

#include "bindings/ops.h"
#include "bindings/validate.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

void relu_fprop(uintptr_t x, uintptr_t y, int64_t count, const std::string& dtype, uintptr_t stream) {
  ReluFpropParams params{};
  params.dtype = parse_dtype(dtype);
  params.count = check_count("count", count);
  const int bytes = dtype_bytes(params.dtype);
  params.x = check_pointer<const void>("x", x, count, bytes);
  params.y = check_pointer<void>("y", y, count, bytes);
  launch_relu_fprop(params, to_stream(stream));
}

void relu_bprop(uintptr_t y, uintptr_t dy, uintptr_t dx, int64_t count, const std::string& dtype, uintptr_t stream) {
  ReluBpropParams params{};
  params.dtype = parse_dtype(dtype);
  params.count = check_count("count", count);
  const int bytes = dtype_bytes(params.dtype);
  params.y = check_pointer<const void>("y", y, count, bytes);
  params.dy = check_pointer<const void>("dy", dy, count, bytes);
  params.dx = check_pointer<void>("dx", dx, count, bytes);
  launch_relu_bprop(params, to_stream(stream));
}

}  // namespace

void bind_relu(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("relu_fprop", &relu_fprop, py::kw_only(), py::arg("x"), py::arg("y"), py::arg("count"), py::arg("dtype"),
             py::arg("stream"), Unlocked(), "y = max(x, 0); y may be x.");
  module.def("relu_bprop", &relu_bprop, py::kw_only(), py::arg("y"), py::arg("dy"), py::arg("dx"), py::arg("count"),
             py::arg("dtype"), py::arg("stream"), Unlocked(), "dx = dy where y > 0, else 0; dx may be y or dy.");
}

}  // namespace alexnet::bindings
