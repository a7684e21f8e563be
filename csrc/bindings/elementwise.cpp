#include "common/elementwise.h"

#include "bindings/ops.h"
#include "bindings/validate.h"
#include "common/dtype.h"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

py::dict elementwise_choice(int64_t count, const std::string& dtype, bool vectors, int64_t multiprocessors) {
  const ElementwiseConfig config = elementwise_config(
      {check_count("count", count), dtype_bytes(parse_dtype(dtype)), vectors}, check_machine(multiprocessors));
  return py::dict("vector"_a = config.vector, "block"_a = config.block, "grid"_a = config.grid);
}

}  // namespace

void bind_elementwise(py::module_& module) {
  module.def("elementwise_config", &elementwise_choice, py::kw_only(), "count"_a, "dtype"_a, "vectors"_a,
             "multiprocessors"_a = kReferenceMachine.multiprocessors,
             "Launch choice of the elementwise kernels; vectors: every pointer and row is a multiple of 16 bytes.");
}

}  // namespace alexnet::bindings
