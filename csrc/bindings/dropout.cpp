#include "ops/dropout.h"

#include <array>

#include <pybind11/stl.h>

#include "bindings/ops.h"
#include "bindings/validate.h"
#include "common/philox.cuh"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

// Elements of one stream of random bits: 2^32 blocks of four.
constexpr int64_t kMaxElements = int64_t{1} << 34;

double check_rate(double rate) {
  if (!(rate >= 0.0 && rate < 1.0)) {
    throw std::invalid_argument("rate is " + std::to_string(rate) + "; expected a probability in [0, 1)");
  }
  return rate;
}

void dropout_apply(uintptr_t x, uintptr_t y, int64_t rows, int64_t columns, int64_t start, int64_t row_stride,
                   uint64_t seed, uint32_t purpose, uintptr_t step, double rate, const std::string& dtype,
                   uintptr_t stream) {
  DropoutParams params{};
  params.dtype = parse_dtype(dtype);
  params.rate = check_rate(rate);
  const int64_t count = check_matrix(rows, "columns", columns);
  params.rows = rows;
  params.columns = columns;
  params.start = check_size("start", start, 0, kMaxElements);
  params.row_stride = check_size("row_stride", row_stride, 0, kMaxElements);
  const int64_t room = kMaxElements - start - columns;
  if (count > 0 && (room < 0 || (row_stride > 0 && rows - 1 > room / row_stride))) {
    throw std::invalid_argument("start + (rows - 1) * row_stride + columns is too large; expected at most " +
                                std::to_string(kMaxElements) + ", all that one step's stream of random bits holds");
  }
  const int bytes = dtype_bytes(params.dtype);
  params.seed = seed;
  params.purpose = purpose;
  params.x = check_pointer<const void>("x", x, count, bytes);
  params.y = check_pointer<void>("y", y, count, bytes);
  params.step = check_pointer<const uint64_t>("step", step, count > 0 ? 1 : 0, sizeof(uint64_t));
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
      "dropout_threshold", [](double rate) { return dropout_threshold(check_rate(rate)); }, py::kw_only(),
      py::arg("rate"), "Bits below this drop the element: rate * 2^32, rounded.");
  module.def("philox4x32", &philox, py::kw_only(), py::arg("counter"), py::arg("key"),
             "One Philox4x32-10 block, computed on the host by the kernels' own code.");
}

}  // namespace alexnet::bindings
