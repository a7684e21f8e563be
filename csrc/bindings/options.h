// Options cross as the Python dataclass that holds them, of which the fields are read by name: an option is added there
// and in the struct here.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <type_traits>

namespace alexnet::bindings {

// Whether an attribute is there and of the field's type.
template <typename T>
bool read_field(pybind11::handle options, const char* name, T& value) {
  const auto attribute = pybind11::reinterpret_steal<pybind11::object>(PyObject_GetAttrString(options.ptr(), name));
  pybind11::detail::make_caster<T> caster;
  if (!attribute || !caster.load(attribute, true)) {
    PyErr_Clear();
    return false;
  }
  value = pybind11::detail::cast_op<T>(caster);
  return true;
}

}  // namespace alexnet::bindings

// For a struct with kDataclass, the dataclass's name, and bool read(pybind11::handle), which fills it.
template <typename Options>
struct pybind11::detail::type_caster<Options, std::void_t<decltype(Options::kDataclass)>> {
  PYBIND11_TYPE_CASTER(Options, const_name(Options::kDataclass));

  bool load(handle source, bool) { return value.read(source); }
};
