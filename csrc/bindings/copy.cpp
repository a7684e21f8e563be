#include "ops/copy.h"

#include <pybind11/stl.h>

#include "bindings/ops.h"
#include "bindings/tensor.h"

namespace py = pybind11;
using namespace py::literals;

namespace alexnet::bindings {
namespace {

// A thread reads where it writes only where both lie alike; beside that they must not share an element. Two ranges of
// one matrix's columns are apart though their rows alternate.
void check_apart(const Tensor& y, const Tensor& x) {
  const int64_t y_bytes = y.row_pitch() * y.element_bytes(), x_bytes = x.row_pitch() * x.element_bytes();
  if (x.address == y.address && x.row_pitch() == y.row_pitch() && x.dtype == y.dtype) return;
  if (x_bytes == y_bytes && y_bytes > 0) {
    const auto distance = static_cast<int64_t>(y.address) - static_cast<int64_t>(x.address);
    const int64_t along = (distance % y_bytes + y_bytes) % y_bytes;
    if (along >= x.columns() * x.element_bytes() && along + y.columns() * y.element_bytes() <= y_bytes) return;
  }
  check_disjoint(y, x);
}

void copy_columns(const Tensor& x, const OptionalTensor& addend, const Tensor& y, uintptr_t stream) {
  CopyColumnsParams params{};
  params.x_dtype = x.floating();
  params.y_dtype = y.floating();
  params.rows = x.rows();
  params.columns = check_size("the columns of x", x.columns());
  params.x_pitch = x.row_pitch();
  params.y_pitch = y.row_pitch();
  params.x = x.strided<const void>();
  params.y = y.of_shape(x.shape).strided<void>();
  check_apart(y, x);
  if (addend) {
    params.addend_pitch = addend->row_pitch();
    params.addend = addend->like(x).strided<const void>();
    check_apart(y, *addend);
  }
  launch_copy_columns(params, to_stream(stream));
}

py::dict copy_choice(int64_t rows, int64_t columns, int64_t x_pitch, int64_t addend_pitch, int64_t y_pitch,
                     const std::string& x_dtype, const std::string& y_dtype, bool aligned) {
  check_matrix(rows, "columns", columns);
  const auto pitch = [&](const char* name, int64_t given) {
    if (given == 0) return columns;
    check_size(name, given, columns);
    check_matrix(rows, name, given);
    return given;
  };
  const CopyProblem problem{rows,
                            columns,
                            pitch("x_pitch", x_pitch),
                            pitch("addend_pitch", addend_pitch),
                            pitch("y_pitch", y_pitch),
                            dtype_bytes(parse_dtype(x_dtype, "x_dtype")),
                            dtype_bytes(parse_dtype(y_dtype, "y_dtype")),
                            aligned};
  const ElementwiseConfig config = copy_config(problem, kReferenceMachine);
  return py::dict("vector"_a = config.vector, "block"_a = config.block, "grid"_a = config.grid);
}

}  // namespace

void bind_copy(py::module_& module) {
  bind_launch(module, "copy_columns", &copy_columns,
              "y = x + addend over ranges of columns, in float32 and then y's dtype; addend is of x's dtype, None: "
              "without; y may be x or addend where both lie alike.",
              "x"_a, "addend"_a, "y"_a);
  module.def("copy_config", &copy_choice, py::kw_only(), "rows"_a, "columns"_a, "x_pitch"_a, "addend_pitch"_a,
             "y_pitch"_a, "x_dtype"_a, "y_dtype"_a, "aligned"_a,
             "Launch choice of copy_columns; aligned: every pointer is a multiple of 16 bytes; pitches 0: dense.");
}

}  // namespace alexnet::bindings
