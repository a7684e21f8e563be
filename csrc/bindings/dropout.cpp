#include "ops/dropout.h"

#include <array>

#include <pybind11/stl.h>

#include "bindings/dropout.h"
#include "bindings/ops.h"
#include "common/philox.cuh"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

void dropout_apply(uintptr_t x, uintptr_t y, int64_t rows, int64_t columns, int64_t start, int64_t row_stride,
                   uint64_t seed, uint32_t purpose, uintptr_t step, double rate, const std::string& dtype,
                   uintptr_t stream) {
  DropoutParams params{};
  params.dtype = parse_dtype(dtype);
  const int64_t count = check_matrix(rows, "columns", columns);
  params.rows = rows;
  params.columns = columns;
  params.dropout = check_dropout("", {rate, seed, purpose, step, start, row_stride}, rows, columns);
  check_pointer<const uint64_t>("step", step, count > 0 ? 1 : 0, sizeof(uint64_t));
  const int bytes = dtype_bytes(params.dtype);
  params.x = check_pointer<const void>("x", x, count, bytes);
  params.y = check_pointer<void>("y", y, count, bytes);
  launch_dropout_apply(params, to_stream(stream));
}

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  const PhiloxBlock block = philox4x32({{counter[0], counter[1], counter[2], counter[3]}}, key[0], key[1]);
  return {block.word[0], block.word[1], block.word[2], block.word[3]};
}

}  // namespace

void bind_dropout(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("dropout_apply", &dropout_apply, py::kw_only(), py::arg("x"), py::arg("y"), py::arg("rows"),
             py::arg("columns"), py::arg("start"), py::arg("row_stride"), py::arg("seed"), py::arg("purpose"),
             py::arg("step"), py::arg("rate"), py::arg("dtype"), py::arg("stream"), Unlocked(),
             "y = 0 where the Philox bits of element start + row * row_stride + column are below rate * 2^32, else "
             "x / (1 - rate); with dy for x it is the backward pass; step points to a uint64 in device memory; y may "
             "be x.");
  module.def(
      "dropout_threshold", [](double rate) { return dropout_threshold(check_rate("rate", rate)); }, py::kw_only(),
      py::arg("rate"), "Bits below this drop the element: rate * 2^32, rounded.");
  module.def("philox4x32", &philox, py::kw_only(), py::arg("counter"), py::arg("key"),
             "One Philox4x32-10 block, computed on the host by the kernels' own code.");
}

}  // namespace alexnet::bindings
