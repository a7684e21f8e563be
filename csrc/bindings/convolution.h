// The options of a convolution and the checks of its tensors. A fully connected layer is the convolution of 1 x 1
// images with 1 x 1 filters, whose tensors may be the matrices x [N, C], y [N, K] and weight [K, C].
#pragma once

#include <array>
#include <cstdint>
#include <stdexcept>
#include <string>

#include "bindings/fold.h"
#include "bindings/options.h"
#include "bindings/tensor.h"
#include "ops/conv2d.h"

namespace alexnet::bindings {

struct Conv2dSizes {
  static constexpr char kDataclass[] = "Conv2dShape";
  int64_t N, H, W, C, K, R, S, groups;
  Pair stride, padding;

  bool read(pybind11::handle p) {
    return read_field(p, "N", N) && read_field(p, "H", H) && read_field(p, "W", W) && read_field(p, "C", C) &&
           read_field(p, "K", K) && read_field(p, "R", R) && read_field(p, "S", S) && read_field(p, "groups", groups) &&
           read_field(p, "stride", stride) && read_field(p, "padding", padding);
  }
};

struct Conv2dOptions {
  static constexpr char kDataclass[] = "Problem";
  Conv2dSizes shape;
  std::string precision;
  std::array<int64_t, 3> pitch;  // of x, y and weight; 0: dense
  bool x_folded;

  bool read(pybind11::handle p) {
    return read_field(p, "shape", shape) && read_field(p, "precision", precision) && read_field(p, "pitch", pitch) &&
           read_field(p, "x_folded", x_folded);
  }

  Conv2dProblem checked() const {
    const auto narrow = [](const char* name, int64_t value, int64_t smallest) {
      return static_cast<int>(check_size(name, value, smallest));
    };
    Conv2dProblem problem{};
    problem.N = narrow("N", shape.N, 0);
    problem.H = narrow("H", shape.H, 1);
    problem.W = narrow("W", shape.W, 1);
    problem.C = narrow("C", shape.C, 1);
    problem.K = narrow("K", shape.K, 1);
    problem.R = narrow("R", shape.R, 1);
    problem.S = narrow("S", shape.S, 1);
    problem.stride_h = narrow("stride", shape.stride[0], 1);
    problem.stride_w = narrow("stride", shape.stride[1], 1);
    problem.padding_h = narrow("padding", shape.padding[0], 0);
    problem.padding_w = narrow("padding", shape.padding[1], 0);
    problem.groups = narrow("groups", shape.groups, 1);
    problem.x_pitch = narrow("x_pitch", pitch[0], 0);
    problem.y_pitch = narrow("y_pitch", pitch[1], 0);
    problem.weight_pitch = narrow("weight_pitch", pitch[2], 0);
    problem.precision = parse_precision(precision);
    problem.x_folded = x_folded;
    check_conv2d(problem);
    return problem;
  }
};

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
  const Tensor& y(const Tensor& t) const { return fit(t, {p().N, p().P(), p().Q(), p().K}, p().y_pitch); }
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
