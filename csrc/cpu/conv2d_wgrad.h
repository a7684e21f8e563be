// wgrad: a tile of C is up to kRows neighbouring numbers of a filter row by kColumns filters, over output positions:
// both operands are read where they lie. One thread keeps the sums of kColumns filters in cache and goes through all
// images in order, so no sum is split and none depends on the number of threads.
#pragma once

#include "cpu/conv2d_product.h"
#include "cpu/sgd.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {

class Conv2dWgrad : public Work {
 public:
  explicit Conv2dWgrad(const Conv2dWgradParams& p);

 protected:
  void tile(int phase, int index, float* workspace) override;

 private:
  struct Part {
    int group, panel, columns, first_r, rows_r;
  };
  void add_image(const Part& part, const Image& x, const float* dy, ptrdiff_t dy_pitch, float* buffer, float* c) const;
  void add_bias(const float* dy, ptrdiff_t dy_pitch, float* total) const;
  void write(const Part& part, const float* c) const;
  int run() const { return problem_.S * problem_.group_c(); }

  Conv2dProblem problem_;
  const float *x_, *dy_;
  GradientTarget target_;
  float* dbias_;
  int panels_, r_pieces_;
};

inline Conv2dWgrad::Conv2dWgrad(const Conv2dWgradParams& p)
    : problem_(p.problem),
      x_(static_cast<const float*>(p.x)),
      dy_(static_cast<const float*>(p.dy)),
      target_{p.dweight, p.accumulate, p.sgd},
      dbias_(p.dbias) {
  constexpr int kTiles = 12;
  panels_ = (problem_.group_k() + kColumns - 1) / kColumns;
  const int wholes = panels_ * problem_.groups;
  r_pieces_ = (kTiles + wholes - 1) / wholes;
  // The sums of a tile should leave half of the cache to what they are made of.
  const size_t sums = sizeof(float) * problem_.R * run() * kColumns;
  const int pieces = static_cast<int>((sums + l2_bytes() / 2 - 1) / (l2_bytes() / 2));
  r_pieces_ = r_pieces_ > pieces ? r_pieces_ : pieces;
  r_pieces_ = r_pieces_ < problem_.R ? r_pieces_ : problem_.R;
  tiles_[0] = wholes * r_pieces_;
}

inline void Conv2dWgrad::tile(int, int index, float*) {
  Pieces filter_rows(problem_.R, 1);
  filter_rows.pieces = r_pieces_;
  Part part;
  part.first_r = filter_rows.begin(index % r_pieces_);
  part.rows_r = filter_rows.size(index % r_pieces_);
  part.panel = index / r_pieces_ % panels_;
  part.group = index / r_pieces_ / panels_;
  const int left = problem_.group_k() - part.panel * kColumns;
  part.columns = left < kColumns ? left : kColumns;

  const int P = problem_.P(), Q = problem_.Q(), cg = problem_.group_c();
  const size_t sums = static_cast<size_t>(part.rows_r) * run() * kColumns;
  const size_t window =
      window_floats((P - 1) * problem_.stride_h + part.rows_r, (Q - 1) * problem_.stride_w + problem_.S, cg);
  const size_t panel = part.columns < kColumns ? static_cast<size_t>(P) * Q * kColumns : 0;
  float* c = scratch(kColumns + sums + panel + window);
  float* total = c + sums;
  float* packed = total + kColumns;
  zero_floats(c, static_cast<ptrdiff_t>(sums) + kColumns);
  for (int n = 0; n < problem_.N; ++n) {
    const Image x = {x_ + static_cast<ptrdiff_t>(n) * problem_.H * problem_.W * problem_.xp() + part.group * cg,
                     problem_.H, problem_.W, static_cast<ptrdiff_t>(problem_.xp()), cg};
    const float* dy = dy_ + static_cast<ptrdiff_t>(n) * P * Q * problem_.yp() + part.group * problem_.group_k() +
                      part.panel * kColumns;
    ptrdiff_t pitch = problem_.yp();
    if (panel) {
      pack_columns(dy, pitch, part.columns, P * Q, packed);
      dy = packed;
      pitch = kColumns;
    }
    add_image(part, x, dy, pitch, packed + panel, c);
    if (dbias_ && part.first_r == 0) add_bias(dy, pitch, total);
  }
  write(part, c);
  if (dbias_ && part.first_r == 0) {
    copy_floats(dbias_ + part.group * problem_.group_k() + part.panel * kColumns, total, part.columns);
  }
}

inline void Conv2dWgrad::add_image(const Part& part, const Image& x, const float* dy, ptrdiff_t dy_pitch, float* buffer,
                                   float* c) const {
  const int P = problem_.P(), Q = problem_.Q();
  const Window window =
      take_window(x, part.first_r - problem_.padding_h, -problem_.padding_w, (P - 1) * problem_.stride_h + part.rows_r,
                  (Q - 1) * problem_.stride_w + problem_.S, buffer);
  // Positions that a tile of C is kept in registers for: enough to hide its loads and stores, few enough that what
  // they read stays in the first cache while the filter row is gone through.
  constexpr int kPositions = 256;
  const int most = kPositions / Q > 0 ? kPositions / Q : 1;
  const Pieces blocks(P, most), across(run(), kRows);
  for (int block = 0; block < blocks.pieces; ++block) {
    const int p = blocks.begin(block), rows = blocks.size(block);
    const OperandB b = {dy + static_cast<ptrdiff_t>(p) * Q * dy_pitch, Q * dy_pitch, dy_pitch};
    for (int r = 0; r < part.rows_r; ++r) {
      const float* a = window.data + (static_cast<ptrdiff_t>(p) * problem_.stride_h + r) * window.row;
      float* sums = c + static_cast<ptrdiff_t>(r) * run() * kColumns;
      for (int i = 0; i < across.pieces; ++i) {
        const int at = across.begin(i);
        kernel<false>(across.size(i), part.columns)(
            rows, Q, {a + at, problem_.stride_h * window.row, problem_.stride_w * window.pixel, 1}, b,
            sums + static_cast<ptrdiff_t>(at) * kColumns, true);
      }
    }
  }
}

// Row by row of the image, so that a sum of a hundred thousand numbers is one of some hundreds of sums.
inline void Conv2dWgrad::add_bias(const float* dy, ptrdiff_t dy_pitch, float* total) const {
  Vector image[kVectors] = {};
  for (int p = 0; p < problem_.P(); ++p) {
    Vector row[kVectors] = {};
    for (int q = 0; q < problem_.Q(); ++q, dy += dy_pitch) {
      for (int v = 0; v < kVectors; ++v) row[v] += load(dy + v * kLanes);
    }
    for (int v = 0; v < kVectors; ++v) image[v] += row[v];
  }
  for (int v = 0; v < kVectors; ++v) store(total + v * kLanes, load(total + v * kLanes) + image[v]);
}

// The sums lie by column, the gradient by filter: pieces of a tap's channels are turned round on the way.
inline void Conv2dWgrad::write(const Part& part, const float* c) const {
  constexpr int kPiece = 64;
  const int cg = problem_.group_c();
  const bool dense = problem_.wp() == cg;
  const int length = dense ? part.rows_r * run() : cg;  // of what is contiguous in the gradient
  const int runs = dense ? 1 : part.rows_r * problem_.S;
  const ptrdiff_t filter = problem_.wp() * problem_.R * problem_.S;
  const ptrdiff_t first = static_cast<ptrdiff_t>(part.group) * problem_.group_k() + part.panel * kColumns;
  alignas(64) float pieces[kColumns * kPiece];
  for (int i = 0; i < runs; ++i) {
    const ptrdiff_t tap = static_cast<ptrdiff_t>(part.first_r) * problem_.S + i;
    for (int from = 0; from < length; from += kPiece) {
      const int count = length - from < kPiece ? length - from : kPiece;
      unpack_rows(c + (static_cast<ptrdiff_t>(i) * cg + from) * kColumns, count, pieces, kPiece);
      for (int j = 0; j < part.columns; ++j) {
        target_.take(pieces + j * kPiece, (first + j) * filter + tap * problem_.wp() + from, count);
      }
    }
  }
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
