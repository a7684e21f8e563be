// From element types and vector widths that are known at run time to the template arguments of a kernel.
#pragma once

#include <algorithm>
#include <stdexcept>
#include <string>
#include <type_traits>

#include "common/dtype.h"

namespace alexnet {

template <typename T>
struct TypeTag {
  using type = T;
};

// Calls function(TypeTag<T>{}) with the C++ type of `dtype`.
template <typename Function>
void dispatch_dtype(DType dtype, Function&& function) {
  switch (dtype) {
    case DType::kFloat32:
      return function(TypeTag<float>{});
    case DType::kBFloat16:
      return function(TypeTag<bf16>{});
    case DType::kFloat16:
      return function(TypeTag<fp16>{});
  }
  throw std::invalid_argument("unknown DType " + std::to_string(static_cast<int>(dtype)));
}
template <typename Function>
void dispatch_dtype(DType first, DType second, Function&& function) {
  dispatch_dtype(first, [&](auto type) { dispatch_dtype(second, [&](auto other) { function(type, other); }); });
}

// Calls function(std::bool_constant<value>{}).
template <typename Function>
void dispatch_bool(bool value, Function&& function) {
  if (value) return function(std::true_type{});
  return function(std::false_type{});
}

// Calls function(std::integral_constant<int, vector>{}): 1, or the elements of the narrowest type T in 16 bytes.
template <typename... T, typename Function>
void dispatch_vector(int vector, Function&& function) {
  if (vector == 1) return function(std::integral_constant<int, 1>{});
  return function(std::integral_constant<int, 16 / std::min({sizeof(T)...})>{});
}

// Calls function(width, type...), the arguments of dispatch_vector and dispatch_dtype.
template <typename Function>
void dispatch(int vector, DType dtype, Function&& function) {
  dispatch_dtype(dtype, [&](auto type) {
    dispatch_vector<typename decltype(type)::type>(vector, [&](auto width) { function(width, type); });
  });
}
template <typename Function>
void dispatch(int vector, DType first, DType second, Function&& function) {
  dispatch_dtype(first, second, [&](auto type, auto other) {
    using T = typename decltype(type)::type;
    using Other = typename decltype(other)::type;
    dispatch_vector<T, Other>(vector, [&](auto width) { function(width, type, other); });
  });
}

}  // namespace alexnet
