// The tensors that Python passes, and their checks: shapes, types and pitches come from them and from nothing else.
//
// Every binding reads in one order. It validates its arguments into the operation's params struct, from Tensors and
// options; the device is the current one, which whoever calls has chosen; the stream is the last argument; the
// operation's launch dispatches on dtype and vector width and launches. bias.cpp is a short example.
#pragma once

#include <pybind11/pybind11.h>

#include <cstdint>
#include <optional>
#include <string>
#include <type_traits>
#include <vector>

#include "bindings/validate.h"
#include "common/dtype.h"

namespace alexnet::bindings {

inline const char* dtype_name(DType dtype) {
  return dtype == DType::kBFloat16 ? "bfloat16" : dtype == DType::kFloat16 ? "float16" : "float32";
}

// What backends/runtime.py knows of an array. It throws std::invalid_argument, which begins with the name.
struct Tensor {
  const char* name;   // of the parameter
  uintptr_t address;  // may be 0 only where there are no elements
  std::string dtype;
  std::vector<int64_t> shape;
  int64_t pitch;  // elements from one row of the last dimension to the next; 0: dense

  // Elements: few enough that no index or byte count overflows.
  int64_t count() const {
    int64_t result = 1;
    for (const int64_t extent : shape) {
      if (extent < 0 || (extent > 0 && result > kMaxCount / extent)) {
        fail("has the shape " + text(shape), "at most " + std::to_string(kMaxCount) + " elements");
      }
      result *= extent;
    }
    return result;
  }
  // As a matrix of the last dimension.
  int64_t columns() const { return shape.empty() ? 1 : shape.back(); }
  int64_t rows() const { return columns() == 0 ? 0 : count() / columns(); }
  int64_t row_pitch() const { return pitch == 0 ? columns() : pitch; }

  // From the first element to the last: the pitch of a range of a wider tensor goes on beyond the end of that tensor.
  int64_t span() const {
    if (pitch == 0 || count() == 0) return count();
    if (pitch < columns() || rows() > kMaxCount / pitch) {
      fail("has a pitch of " + std::to_string(pitch), "0, or " + std::to_string(columns()) + " or more");
    }
    return (rows() - 1) * pitch + columns();
  }

  DType floating() const {
    if (dtype == "float32") return DType::kFloat32;
    if (dtype == "bfloat16") return DType::kBFloat16;
    if (dtype == "float16") return DType::kFloat16;
    fail("is of " + dtype, "float32, bfloat16 or float16");
  }

  int element_bytes() const {
    if (dtype == "uint8" || dtype == "bool") return 1;
    if (dtype == "int64" || dtype == "uint64") return 8;
    return dtype_bytes(floating());
  }

  // These return the tensor, to go on with.
  const Tensor& of_dtype(const char* expected) const {
    if (dtype != expected) fail("is of " + dtype, expected);
    return *this;
  }
  const Tensor& of_shape(const std::vector<int64_t>& expected) const {
    if (shape != expected) fail("has the shape " + text(shape), text(expected));
    return *this;
  }
  const Tensor& of_count(int64_t expected) const {
    if (count() != expected) fail("has the shape " + text(shape), std::to_string(expected) + " in all");
    return *this;
  }
  const Tensor& of_pitch(int64_t expected) const {
    if (pitch != expected) fail("has a pitch of " + std::to_string(pitch), std::to_string(expected) + " (0: dense)");
    return *this;
  }
  // With the shape and type of another one.
  const Tensor& like(const Tensor& other) const { return of_dtype(other.dtype.c_str()).of_shape(other.shape); }

  // The address of elements that are T, or void for any floating-point type, dense. Alignment 0: an element's.
  template <typename T>
  T* data(int alignment = 0) const {
    if (pitch != 0) fail("has a pitch of " + std::to_string(pitch), "it dense");
    return strided<T>(alignment);
  }
  // As data, of a tensor that may have a pitch.
  template <typename T>
  T* strided(int alignment = 0) const {
    using Element = std::remove_const_t<T>;
    if constexpr (std::is_same_v<Element, void>) {
      static_cast<void>(floating());
    } else if (!(std::is_same_v<Element, uint8_t> && dtype == "bool")) {
      of_dtype(name_of<Element>());
    }
    return check_pointer<T>(name, address, span(), element_bytes(), alignment);
  }

  [[noreturn]] void fail(const std::string& given, const std::string& expected) const {
    throw std::invalid_argument(std::string(name) + " " + given + "; expected " + expected);
  }

 private:
  template <typename Element>
  static constexpr const char* name_of() {
    if constexpr (std::is_same_v<Element, float>) return "float32";
    if constexpr (std::is_same_v<Element, uint8_t>) return "uint8";
    if constexpr (std::is_same_v<Element, int64_t>) return "int64";
    if constexpr (std::is_same_v<Element, uint64_t>) return "uint64";
  }
  static std::string text(const std::vector<int64_t>& extents) {
    std::string result;
    for (const int64_t extent : extents) result += (result.empty() ? "" : ", ") + std::to_string(extent);
    return "[" + result + "]";
  }
};

using OptionalTensor = std::optional<Tensor>;  // None in Python; needs pybind11/stl.h

// One that is optional on its own, but not with what else is given.
inline const Tensor& required(const char* name, const OptionalTensor& tensor) {
  if (!tensor) throw std::invalid_argument(std::string(name) + " is None; expected a tensor");
  return *tensor;
}

// A kernel that reads its neighbours' input cannot write over it.
inline void check_disjoint(const Tensor& output, const Tensor& input) {
  const auto end = [](const Tensor& t) { return t.address + static_cast<uintptr_t>(t.span() * t.element_bytes()); };
  if (output.count() > 0 && input.count() > 0 && output.address < end(input) && input.address < end(output)) {
    throw std::invalid_argument(std::string(output.name) + " overlaps " + input.name + "; expected memory of its own");
  }
}

// Room for `bytes` that no other kernel uses meanwhile; it need not be given where that is 0.
template <typename T>
T* check_workspace(const OptionalTensor& workspace, int64_t bytes) {
  if (bytes == 0) return nullptr;
  if (!workspace) throw std::invalid_argument("workspace is None; expected " + std::to_string(bytes) + " bytes");
  if (workspace->count() < bytes) {
    workspace->fail("has " + std::to_string(workspace->count()) + " bytes", std::to_string(bytes) + " or more");
  }
  return reinterpret_cast<T*>(workspace->data<uint8_t>(16));
}

// Binds a function that launches: keyword arguments, the stream's address last, other threads of Python go on.
template <typename Function, typename... Arguments>
void bind_launch(pybind11::module_& module, const char* name, Function function, const char* doc,
                 const Arguments&... arguments) {
  module.def(name, function, pybind11::kw_only(), arguments..., pybind11::arg("stream"),
             pybind11::call_guard<pybind11::gil_scoped_release>(), doc);
}

}  // namespace alexnet::bindings

// From the tuple Tensor of backends/runtime.py: (name, address, dtype, shape, pitch).
template <>
struct pybind11::detail::type_caster<alexnet::bindings::Tensor> {
  PYBIND11_TYPE_CASTER(alexnet::bindings::Tensor, const_name("Tensor"));

  bool load(handle source, bool) {
    PyObject* const fields = source.ptr();
    if (!PyTuple_Check(fields) || PyTuple_GET_SIZE(fields) != 5) return false;
    PyObject* const shape = PyTuple_GET_ITEM(fields, 3);
    value.name = PyUnicode_AsUTF8(PyTuple_GET_ITEM(fields, 0));
    value.address = PyLong_AsSize_t(PyTuple_GET_ITEM(fields, 1));
    const char* const dtype = PyUnicode_AsUTF8(PyTuple_GET_ITEM(fields, 2));
    value.pitch = PyLong_AsLongLong(PyTuple_GET_ITEM(fields, 4));
    if (!PyErr_Occurred() && PyTuple_Check(shape)) {
      value.dtype = dtype;
      value.shape.resize(static_cast<size_t>(PyTuple_GET_SIZE(shape)));
      for (size_t i = 0; i < value.shape.size(); ++i) {
        value.shape[i] = PyLong_AsLongLong(PyTuple_GET_ITEM(shape, static_cast<Py_ssize_t>(i)));
      }
      if (!PyErr_Occurred()) return true;
    }
    PyErr_Clear();
    return false;
  }
};
