// The options of a convolution and the checks of its tensors. A fully connected layer is the convolution of 1 x 1
// images with 1 x 1 filters, whose tensors may be the matrices x [N, C], y [N, K] and weight [K, C].
#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>
#include <utility>

#include "bindings/fold.h"
#include "bindings/options.h"
#include "bindings/tensor.h"
#include "ops/conv2d.h"

namespace alexnet::bindings {

// Of Problem of backends/kernels/conv2d.py, checked.
inline bool read_problem(pybind11::handle from, Conv2dProblem& problem) {
  pybind11::object shape;
  Pair stride, padding;
  std::array<int64_t, 3> pitch;
  std::string precision;
  if (!read_field(from, "shape", shape) || !read_field(shape, "stride", stride) ||
      !read_field(shape, "padding", padding) || !read_field(from, "pitch", pitch) ||
      !read_field(from, "precision", precision) || !read_field(from, "x_folded", problem.x_folded)) {
    return false;
  }
  const auto narrow = [](const char* name, int64_t value) { return static_cast<int>(check_size(name, value)); };
  for (const auto& [name, size] : {std::pair{"N", &problem.N},
                                   {"H", &problem.H},
                                   {"W", &problem.W},
                                   {"C", &problem.C},
                                   {"K", &problem.K},
                                   {"R", &problem.R},
                                   {"S", &problem.S},
                                   {"P", &problem.P},
                                   {"Q", &problem.Q},
                                   {"groups", &problem.groups}}) {
    int64_t value = 0;
    if (!read_field(shape, name, value)) return false;
    *size = narrow(name, value);
  }
  problem.stride_h = narrow("stride", stride[0]);
  problem.stride_w = narrow("stride", stride[1]);
  problem.padding_h = narrow("padding", padding[0]);
  problem.padding_w = narrow("padding", padding[1]);
  problem.x_pitch = narrow("x_pitch", pitch[0]);
  problem.y_pitch = narrow("y_pitch", pitch[1]);
  problem.weight_pitch = narrow("weight_pitch", pitch[2]);
  problem.precision = parse_precision(precision);
  check_conv2d(problem);
  return true;
}

inline Direction parse_direction(const std::string& name) {
  if (name == "fprop") return Direction::kFprop;
  if (name == "dgrad") return Direction::kDgrad;
  if (name == "wgrad") return Direction::kWgrad;
  throw std::invalid_argument("direction is \"" + name + "\"; expected fprop, dgrad or wgrad");
}

// What the tensors of a problem have to be. x, y and weight stand for their gradients too.
class Conv2dTensors {
 public:
  explicit Conv2dTensors(const Conv2dProblem& problem)
      : problem_(problem), dtype_(dtype_name(precision_dtype(problem.precision))) {}

  // Return the tensor, of any type.
  const Tensor& x(const Tensor& t) const { return fit(t, {p().N, p().H, p().W, p().C}, p().x_pitch); }
  const Tensor& y(const Tensor& t) const { return fit(t, {p().N, p().P, p().Q, p().K}, p().y_pitch); }
  const Tensor& weight(const Tensor& t) const { return fit(t, {p().K, p().R, p().S, p().group_c()}, p().weight_pitch); }

  // Of the precision's type.
  const void* operand(const Tensor& t) const { return t.of_dtype(dtype_).strided<const void>(); }
  // Of that type or float32.
  void* output(const Tensor& t) const {
    if (t.dtype != "float32") t.of_dtype(dtype_);
    return t.strided<void>();
  }
  // The input as the problem has it, folded or not.
  const void* input(const Tensor& t) const {
    if (!p().x_folded) return operand(x(t));
    const FoldShape shape = x_fold_shape(p());
    t.of_dtype(dtype_).of_shape({shape.n, shape.folded_h, shape.folded_w, shape.folded_c});
    return t.data<const void>(16);
  }
  const Tensor& bias(const Tensor& t) const { return t.of_shape({p().K}); }

 private:
  const Conv2dProblem& p() const { return problem_; }
  static const Tensor& fit(const Tensor& tensor, const std::array<int64_t, 4>& shape, int64_t pitch) {
    const auto [n, h, w, c] = shape;
    if (h == 1 && w == 1 && tensor.shape.size() == 2) return tensor.of_shape({n, c}).of_pitch(pitch);
    return tensor.of_shape({n, h, w, c}).of_pitch(pitch);
  }

  Conv2dProblem problem_;
  const char* dtype_;
};

}  // namespace alexnet::bindings

template <>
struct pybind11::detail::type_caster<alexnet::Conv2dProblem> {
  PYBIND11_TYPE_CASTER(alexnet::Conv2dProblem, const_name("Problem"));

  bool load(handle source, bool) { return alexnet::bindings::read_problem(source, value); }
};
