#include "ops/copy.h"

#include "bindings/ops.h"
#include "bindings/validate.h"

namespace py = pybind11;

namespace alexnet::bindings {
namespace {

// A range of columns of a matrix in memory.
struct Columns {
  const char* name;
  const void* data;
  int64_t rows, columns, pitch;  // pitch in elements
  DType dtype;

  int element_bytes() const { return dtype_bytes(dtype); }
  int64_t row_bytes() const { return columns * element_bytes(); }
  int64_t pitch_bytes() const { return pitch * element_bytes(); }
  int64_t span() const { return rows == 0 || columns == 0 ? 0 : (rows - 1) * pitch + columns; }
  int64_t bytes() const { return span() * element_bytes(); }
};

// A thread reads where it writes only where both lie alike; beside that they must not share an element. Two ranges of
// one matrix's columns are apart though their rows alternate.
void check_apart(const Columns& y, const Columns& x) {
  if (x.data == nullptr || (x.data == y.data && x.pitch == y.pitch && x.dtype == y.dtype)) return;
  if (x.pitch_bytes() == y.pitch_bytes() && y.pitch > 0) {
    const auto distance = static_cast<int64_t>(reinterpret_cast<uintptr_t>(y.data)) -
                          static_cast<int64_t>(reinterpret_cast<uintptr_t>(x.data));
    const int64_t along = (distance % y.pitch_bytes() + y.pitch_bytes()) % y.pitch_bytes();
    if (along >= x.row_bytes() && along + y.row_bytes() <= y.pitch_bytes()) return;
  }
  check_disjoint(y.name, y.data, y.bytes(), x.name, x.data, x.bytes());
}

int64_t check_pitch(const char* name, int64_t pitch, int64_t columns) {
  if (pitch == 0) return columns;
  return check_size(name, pitch, columns);
}

CopyProblem check_copy(int64_t rows, int64_t columns, int64_t x_pitch, int64_t addend_pitch, int64_t y_pitch,
                       DType x_dtype, DType y_dtype) {
  check_matrix(rows, "columns", columns);
  CopyProblem problem{rows,
                      columns,
                      check_pitch("x_pitch", x_pitch, columns),
                      check_pitch("addend_pitch", addend_pitch, columns),
                      check_pitch("y_pitch", y_pitch, columns),
                      dtype_bytes(x_dtype),
                      dtype_bytes(y_dtype),
                      false};
  check_matrix(rows, "x_pitch", problem.x_pitch);
  check_matrix(rows, "addend_pitch", problem.addend_pitch);
  check_matrix(rows, "y_pitch", problem.y_pitch);
  return problem;
}

void copy_columns(uintptr_t x, uintptr_t addend, uintptr_t y, int64_t rows, int64_t columns, int64_t x_pitch,
                  int64_t addend_pitch, int64_t y_pitch, const std::string& x_dtype, const std::string& y_dtype,
                  uintptr_t stream) {
  CopyColumnsParams params{};
  params.x_dtype = parse_dtype(x_dtype, "x_dtype");
  params.y_dtype = parse_dtype(y_dtype, "y_dtype");
  const CopyProblem problem = check_copy(rows, columns, x_pitch, addend_pitch, y_pitch, params.x_dtype, params.y_dtype);
  const auto range = [&](const char* name, uintptr_t address, int64_t pitch, DType dtype) {
    return Columns{name, reinterpret_cast<const void*>(address), rows, columns, pitch, dtype};
  };
  const Columns from = range("x", x, problem.x_pitch, params.x_dtype);
  const Columns added = range("addend", addend, problem.addend_pitch, params.x_dtype);
  const Columns to = range("y", y, problem.y_pitch, params.y_dtype);
  params.x = check_pointer<const void>("x", x, from.span(), from.element_bytes());
  params.addend = check_optional<const void>("addend", addend, added.span(), added.element_bytes());
  params.y = check_pointer<void>("y", y, to.span(), to.element_bytes());
  check_apart(to, from);
  check_apart(to, added);
  params.rows = rows;
  params.columns = columns;
  params.x_pitch = problem.x_pitch;
  params.addend_pitch = problem.addend_pitch;
  params.y_pitch = problem.y_pitch;
  launch_copy_columns(params, to_stream(stream));
}

py::dict copy_choice(int64_t rows, int64_t columns, int64_t x_pitch, int64_t addend_pitch, int64_t y_pitch,
                     const std::string& x_dtype, const std::string& y_dtype, bool aligned) {
  CopyProblem problem = check_copy(rows, columns, x_pitch, addend_pitch, y_pitch, parse_dtype(x_dtype, "x_dtype"),
                                   parse_dtype(y_dtype, "y_dtype"));
  problem.aligned = aligned;
  const ElementwiseConfig config = copy_config(problem, kReferenceMachine);
  py::dict result;
  result["vector"] = config.vector;
  result["block"] = config.block;
  result["grid"] = config.grid;
  return result;
}

}  // namespace

void bind_copy(py::module_& module) {
  using Unlocked = py::call_guard<py::gil_scoped_release>;
  module.def("copy_columns", &copy_columns, py::kw_only(), py::arg("x"), py::arg("addend"), py::arg("y"),
             py::arg("rows"), py::arg("columns"), py::arg("x_pitch"), py::arg("addend_pitch"), py::arg("y_pitch"),
             py::arg("x_dtype"), py::arg("y_dtype"), py::arg("stream"), Unlocked(),
             "y = x + addend over ranges of columns, in float32 and then y_dtype; addend is of x_dtype, 0 for none; "
             "pitches are elements from row to row, 0 for dense; y may be x or addend where both lie alike.");
  module.def("copy_config", &copy_choice, py::kw_only(), py::arg("rows"), py::arg("columns"), py::arg("x_pitch"),
             py::arg("addend_pitch"), py::arg("y_pitch"), py::arg("x_dtype"), py::arg("y_dtype"), py::arg("aligned"),
             "Launch choice of copy_columns; aligned: every pointer is a multiple of 16 bytes.");
}

}  // namespace alexnet::bindings
