#include "ops/dropout.h"

#include <array>

#include "bindings/dropout.h"
#include "bindings/ops.h"
#include "common/philox.cuh"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

void dropout_apply(const DropoutOptions& dropout, const Tensor& x, const Tensor& y, const Tensor& step,
                   uintptr_t stream) {
  DropoutParams params{};
  params.dtype = x.floating();
  params.rows = x.rows();
  params.columns = x.columns();
  params.dropout = check_dropout(dropout, step, params.rows, params.columns);
  params.x = x.data<const void>();
  params.y = y.like(x).data<void>();
  launch_dropout_apply(params, to_stream(stream));
}

std::array<uint32_t, 4> philox(std::array<uint32_t, 4> counter, std::array<uint32_t, 2> key) {
  const PhiloxBlock block = philox4x32({{counter[0], counter[1], counter[2], counter[3]}}, key[0], key[1]);
  return {block.word[0], block.word[1], block.word[2], block.word[3]};
}

}  // namespace

void bind_dropout(py::module_& module) {
  bind_launch(module, "dropout_apply", &dropout_apply,
              "y = 0 where the Philox bits of element start + row * row_stride + column are below rate * 2^32, else "
              "x * scale; with dy for x it is the backward pass; step is a uint64 in device memory; y may be x.",
              "dropout"_a, "x"_a, "y"_a, "step"_a);
  module.def(
      "dropout_threshold", [](double rate) { return dropout_threshold(check_rate(rate)); }, py::kw_only(), "rate"_a,
      "Bits below this drop the element: rate * 2^32, rounded.");
  module.def("philox4x32", &philox, py::kw_only(), "counter"_a, "key"_a,
             "One Philox4x32-10 block, computed on the host by the kernels' own code.");
}

}  // namespace alexnet::bindings
