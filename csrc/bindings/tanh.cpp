#include "ops/tanh.h"

#include "bindings/ops.h"
#include "bindings/validate.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

void tanh_fprop(uintptr_t x, uintptr_t y, int64_t count, const std::string& dtype, uintptr_t stream) {
  TanhFpropParams params{};
  params.dtype = parse_dtype(dtype);
  params.count = check_count("count", count);
  const int bytes = dtype_bytes(params.dtype);
  params.x = check_pointer<const void>("x", x, count, bytes);
  params.y = check_pointer<void>("y", y, count, bytes);
  launch_tanh_fprop(params, to_stream(stream));
}

void tanh_bprop(uintptr_t y, uintptr_t dy, uintptr_t dx, int64_t count, const std::string& dtype, uintptr_t stream) {
  TanhBpropParams params{};
  params.dtype = parse_dtype(dtype);
  params.count = check_count("count", count);
  const int bytes = dtype_bytes(params.dtype);
  params.y = check_pointer<const void>("y", y, count, bytes);
  params.dy = check_pointer<const void>("dy", dy, count, bytes);
  params.dx = check_pointer<void>("dx", dx, count, bytes);
  launch_tanh_bprop(params, to_stream(stream));
}

}  // namespace

void bind_tanh(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("tanh_fprop", &tanh_fprop, py::kw_only(), py::arg("x"), py::arg("y"), py::arg("count"), py::arg("dtype"),
             py::arg("stream"), Unlocked(), "y = tanh(x); y may be x.");
  module.def("tanh_bprop", &tanh_bprop, py::kw_only(), py::arg("y"), py::arg("dy"), py::arg("dx"), py::arg("count"),
             py::arg("dtype"), py::arg("stream"), Unlocked(), "dx = dy * (1 - y^2); dx may be y or dy.");
}

}  // namespace alexnet::bindings
