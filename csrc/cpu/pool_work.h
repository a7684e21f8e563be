// LRN and max-pool, forward and backward, in one pass: what lies between them is a few rows of an image, which stay in
// the first caches. A tile is some rows of an image.
#pragma once

#include "cpu/lrn_rows.h"
#include "cpu/pool.h"
#include "cpu/tile.h"
#include "cpu/work.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {

typedef uint8_t Bytes __attribute__((vector_size(ALEXNET_CPU_LANES)));

inline Mask load_bytes(const uint8_t* p, int count) {
  Bytes b{};
  std::memcpy(&b, p, static_cast<size_t>(count));
  return __builtin_convertvector(b, Mask);
}
inline void store_bytes(uint8_t* p, Mask v, int count) {
  const Bytes b = __builtin_convertvector(v, Bytes);
  std::memcpy(p, &b, static_cast<size_t>(count));
}
inline int lanes_left(int c, int channels) {
  return channels - c < kLanes ? channels - c : kLanes;
}

// Rows of an image that a tile takes: few images are cut finer, for more threads.
inline int rows_per_tile(int images, int rows) {
  const int pieces = images >= 16 ? 1 : 16 / (images > 0 ? images : 1);
  const int step = (rows + pieces - 1) / pieces;
  return step > 0 ? step : 1;
}

// The taps of a window along one axis that lie in the image, [first, end); tap 0 is at position `begin`.
struct PooledTaps {
  int begin, first, end;
};
inline PooledTaps pooled_taps(int window, int stride, int padding, int size, int extent) {
  const int begin = window * stride - padding;
  return {begin, begin < 0 ? -begin : 0, extent - begin < size ? extent - begin : size};
}

class PoolFprop : public Work {
 public:
  explicit PoolFprop(const PoolFpropParams& p) : p_(p), lrn_(p.window, p.shape.C) {
    rows_ = rows_per_tile(p.shape.N, p.shape.P);
    pieces_ = (p.shape.P + rows_ - 1) / rows_;
    tiles_[0] = p.shape.N * pieces_;
  }

 protected:
  void tile(int, int index, float*) override;

 private:
  void pool_row(const float* const* lines, const PooledTaps& down, float* y, uint8_t* argmax) const;

  PoolFpropParams p_;
  LrnRows lrn_;
  int rows_, pieces_;
};

inline void PoolFprop::tile(int, int index, float*) {
  const PoolShape& s = p_.shape;
  const ptrdiff_t line = static_cast<ptrdiff_t>(s.W) * s.C;
  const int n = index / pieces_, first = index % pieces_ * rows_;
  const int end = first + rows_ < s.P ? first + rows_ : s.P;
  const float* x = p_.x + static_cast<ptrdiff_t>(n) * s.H * line;
  const size_t padded = p_.normalise ? lrn_.padded_floats() : 0;
  float* margin = scratch(padded + (p_.normalise ? static_cast<size_t>(s.size) * line : 0));
  float* ring = margin + padded;  // normalised rows, row h at h % size
  std::memset(margin, 0, padded * sizeof(float));
  const float* lines[256];
  int ready = 0;
  for (int p = first; p < end; ++p) {
    float* y = p_.y + (static_cast<ptrdiff_t>(n) * s.P + p) * s.Q * s.C;
    if (s.size == 1 && s.stride == 1 && p_.normalise && !p_.argmax) {  // no pool
      lrn_.normalise(x + p * line, y, s.W, margin);
      continue;
    }
    const PooledTaps down = pooled_taps(p, s.stride, s.padding_h, s.size, s.H);
    for (int r = down.first; r < down.end; ++r) {
      const int h = down.begin + r;
      lines[r] = p_.normalise ? ring + h % s.size * line : x + h * line;
      if (p_.normalise && h >= ready) {
        lrn_.normalise(x + h * line, ring + h % s.size * line, s.W, margin);
        ready = h + 1;
      }
    }
    pool_row(lines, down, y, p_.argmax ? p_.argmax + (y - p_.y) : nullptr);
  }
}

inline void PoolFprop::pool_row(const float* const* lines, const PooledTaps& down, float* y, uint8_t* argmax) const {
  const PoolShape& s = p_.shape;
  for (int q = 0; q < s.Q; ++q, y += s.C) {
    const PooledTaps across = pooled_taps(q, s.stride, s.padding_w, s.size, s.W);
    const ptrdiff_t at = static_cast<ptrdiff_t>(across.begin) * s.C;
    for_vectors(s.C, [&](int c, auto get, auto put) {
      const Mask first = down.first * s.size + across.first - Mask{};
      Vector best = get(lines[down.first] + at + across.first * s.C + c);
      Mask where = first;
      for (int r = down.first; r < down.end; ++r) {
        for (int t = across.first; t < across.end; ++t) {
          const Vector v = get(lines[r] + at + t * s.C + c);
          const Mask more = (v > best) | (v != v);  // NaN is the maximum of all
          best = more ? v : best;
          where = more ? r * s.size + t - Mask{} : where;
        }
      }
      put(y + c, best);
      if (argmax) store_bytes(argmax + q * s.C + c, best == best ? where : first, lanes_left(c, s.C));
    });
  }
}

class PoolBprop : public Work {
 public:
  explicit PoolBprop(const PoolBpropParams& p) : p_(p), lrn_(p.window, p.shape.C) {
    rows_ = rows_per_tile(p.shape.N, p.shape.H);
    pieces_ = (p.shape.H + rows_ - 1) / rows_;
    tiles_[0] = p.shape.N * pieces_;
  }

 protected:
  void tile(int, int index, float*) override;

 private:
  void unpool_row(int n, int h, float* g) const;

  PoolBpropParams p_;
  LrnRows lrn_;
  int rows_, pieces_;
};

inline void PoolBprop::tile(int, int index, float*) {
  const PoolShape& s = p_.shape;
  const ptrdiff_t line = static_cast<ptrdiff_t>(s.W) * s.C;
  const int n = index / pieces_, first = index % pieces_ * rows_;
  const int end = first + rows_ < s.H ? first + rows_ : s.H;
  const size_t padded = p_.normalise ? lrn_.padded_floats() : 0;
  float* margin = scratch(2 * padded + static_cast<size_t>(line));
  float* g = margin + 2 * padded;
  std::memset(margin, 0, 2 * padded * sizeof(float));
  for (int h = first; h < end; ++h) {
    const ptrdiff_t at = (static_cast<ptrdiff_t>(n) * s.H + h) * line;
    if (p_.argmax) unpool_row(n, h, p_.normalise ? g : p_.dx + at);
    if (p_.normalise) {
      const float* dy = p_.argmax ? g : p_.dy + at;
      lrn_.gradient(dy, p_.x + at, p_.dx + at, p_.relu, s.W, margin, margin + padded);
    }
  }
}

// g [W, C], the gradient by row h of what was pooled: of every window that reaches a position, dy where its maximum is.
inline void PoolBprop::unpool_row(int n, int h, float* g) const {
  const PoolShape& s = p_.shape;
  h += s.padding_h;
  const int p0 = h < s.size ? 0 : (h - s.size) / s.stride + 1, p1 = h / s.stride < s.P ? h / s.stride : s.P - 1;
  for (int w = s.padding_w; w < s.W + s.padding_w; ++w, g += s.C) {
    const int q0 = w < s.size ? 0 : (w - s.size) / s.stride + 1, q1 = w / s.stride < s.Q ? w / s.stride : s.Q - 1;
    for_vectors(s.C, [&](int c, auto get, auto put) {
      Vector total{};
      for (int p = p0; p <= p1; ++p) {
        for (int q = q0; q <= q1; ++q) {
          const ptrdiff_t at = ((static_cast<ptrdiff_t>(n) * s.P + p) * s.Q + q) * s.C + c;
          const int tap = (h - p * s.stride) * s.size + w - q * s.stride;
          Mask chosen = load_bytes(p_.argmax + at, lanes_left(c, s.C)) == tap - Mask{};
          if (p_.y) chosen &= get(p_.y + at) > Vector{};
          total += select(chosen, get(p_.dy + at));
        }
      }
      put(g + c, total);
    });
  }
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
