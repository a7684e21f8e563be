// Local response normalisation of neighbouring positions, whose channels lie next to each other.
#pragma once

#include <cmath>

#include "cpu/pool.h"
#include "cpu/sgd.h"
#include "cpu/simd.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {

class LrnRows {
 public:
  LrnRows(const LrnWindow& window, int channels)
      : window_(window), length_(channels / window.groups), half_(window.size / 2) {}

  // Numbers of `padded`, which the calls below need and whose margins are zero.
  size_t padded_floats() const { return static_cast<size_t>(length_) + 2 * half_ + kLanes; }

  // y = x s^-beta with s = k + alpha times the sum of squares in the window.
  void normalise(const float* x, float* y, ptrdiff_t positions, float* padded) const {
    for (ptrdiff_t i = 0; i < positions * window_.groups; ++i, x += length_, y += length_) {
      squares(x, padded);
      for_vectors(length_, [&](int c, auto get, auto put) { put(y + c, get(x + c) / power(scale(padded, c))); });
    }
  }

  // dx = dy s^-beta - 2 alpha beta x sum over the window of (dy x s^(-beta - 1)); 0 where `relu` and x is not positive.
  // `more` is another such buffer. dx may be dy.
  void gradient(const float* dy, const float* x, float* dx, bool relu, ptrdiff_t positions, float* padded,
                float* more) const {
    const Vector factor = broadcast(-2.f * window_.alpha * window_.beta);
    for (ptrdiff_t i = 0; i < positions * window_.groups; ++i, x += length_, dy += length_, dx += length_) {
      squares(x, padded);
      for_vectors(length_, [&](int c, auto get, auto put) {
        const Vector s = scale(padded, c), scaled = get(dy + c) / power(s);
        put(dx + c, scaled);
        put(more + half_ + c, scaled * get(x + c) / s);
      });
      for_vectors(length_, [&](int c, auto get, auto put) {
        const Vector at = get(x + c), v = get(dx + c) + factor * sum(more, c) * at;
        put(dx + c, relu ? select(at > Vector{}, v) : v);
      });
    }
  }

 private:
  void squares(const float* x, float* padded) const {
    for_vectors(length_, [&](int c, auto get, auto put) { put(padded + half_ + c, get(x + c) * get(x + c)); });
  }
  Vector sum(const float* padded, int c) const {
    Vector total = load(padded + c);
    for (int i = 1; i < window_.size; ++i) total += load(padded + c + i);
    return total;
  }
  Vector scale(const float* padded, int c) const {
    return broadcast(window_.k) + broadcast(window_.alpha) * sum(padded, c);
  }
  // s^beta; of the paper's 3/4 by square roots, as in NumPy.
  Vector power(Vector s) const {
    if (window_.beta == 0.75f) {
      const Vector root = square_root(s);
      return root * square_root(root);
    }
    for (int i = 0; i < kLanes; ++i) s[i] = std::pow(s[i], window_.beta);
    return s;
  }

  LrnWindow window_;
  int length_, half_;
};

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
