// Options cross as the Python dataclass that holds them, of which the fields are read by name: an option is added there
// and in the struct here.
#pragma once

#include <pybind11/pybind11.h>
#include <pybind11/stl.h>

#include <array>
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

using Pair = std::array<int64_t, 2>;  // vertical, horizontal

struct DropoutOptions {
  static constexpr char kDataclass[] = "DropoutParams";
  double rate, scale;
  uint64_t seed;
  uint32_t purpose;
  int64_t start, row_stride;

  bool read(pybind11::handle p) {
    return read_field(p, "rate", rate) && read_field(p, "scale", scale) && read_field(p, "seed", seed) &&
           read_field(p, "purpose", purpose) && read_field(p, "start", start) &&
           read_field(p, "row_stride", row_stride);
  }
};

struct SgdOptions {
  static constexpr char kDataclass[] = "SgdParams";
  double rate_factor, momentum, weight_decay, gradient_scale;

  bool read(pybind11::handle p) {
    return read_field(p, "rate_factor", rate_factor) && read_field(p, "momentum", momentum) &&
           read_field(p, "weight_decay", weight_decay) && read_field(p, "gradient_scale", gradient_scale);
  }
};

struct LrnOptions {
  static constexpr char kDataclass[] = "LrnParams";
  int64_t groups, size;
  double k = 1.0, alpha = 0.0, beta = 0.75;

  bool read(pybind11::handle p) {
    return read_field(p, "groups", groups) && read_field(p, "size", size) && read_field(p, "k", k) &&
           read_field(p, "alpha", alpha) && read_field(p, "beta", beta);
  }
};

struct PoolOptions {
  static constexpr char kDataclass[] = "PoolParams";
  int64_t size, stride;
  Pair padding, output;
  std::array<Pair, 2> counted;

  bool read(pybind11::handle p) {
    return read_field(p, "size", size) && read_field(p, "stride", stride) && read_field(p, "padding", padding) &&
           read_field(p, "output", output) && read_field(p, "counted", counted);
  }
};

}  // namespace alexnet::bindings

// For a struct with kDataclass, the dataclass's name, and bool read(pybind11::handle), which fills it.
template <typename Options>
struct pybind11::detail::type_caster<Options, std::void_t<decltype(Options::kDataclass)>> {
  PYBIND11_TYPE_CASTER(Options, const_name(Options::kDataclass));

  bool load(handle source, bool) { return value.read(source); }
};
