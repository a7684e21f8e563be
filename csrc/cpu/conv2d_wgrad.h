// wgrad: a tile of C is up to kRows neighbouring numbers of a filter row by kColumns filters, over output positions:
// both operands are read where they lie.
//
// Where the gradient is large, a thread keeps the sums of kColumns filters in cache and goes through all images. Where
// it is small, as conv1's, all of it fits the cache, so a thread goes through some of the images, of which nothing is
// read twice, and the sums of these lanes are added up in the end. Either way every sum has one order, which depends on
// the problem alone.
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
  // Some panels of a group, and some rows of the filter.
  struct Part {
    int group, panel, panels, first_r, rows_r;
  };
  void add_lane(int lane, float* sums) const;
  void finish_lanes(int panel, const float* workspace) const;
  void whole_sums(int index) const;
  void add_images(const Part& part, int first, int end, float* buffer, float* c, float* bias) const;
  void add_image(const Part& part, const Window& x, const float* dy, const float* last, float* c, float* bias) const;
  void write(const Part& part, const float* c) const;

  int run() const { return problem_.S * problem_.group_c(); }
  int columns(int panel) const {
    const int left = problem_.group_k() - panel * kColumns;
    return left < kColumns ? left : kColumns;
  }
  ptrdiff_t panel_floats(int rows_r) const { return static_cast<ptrdiff_t>(rows_r) * run() * kColumns; }
  ptrdiff_t lane_floats() const { return (panel_floats(problem_.R) + kColumns) * panels_ * problem_.groups; }
  size_t buffer_floats(int rows_r) const {
    const int high = (problem_.P - 1) * problem_.stride_h + rows_r;
    const int wide = (problem_.Q - 1) * problem_.stride_w + problem_.S;
    return static_cast<size_t>(problem_.P) * problem_.Q * kColumns + window_floats(high, wide, problem_.group_c());
  }

  static constexpr int kLaneCount = 16;
  static constexpr int64_t kLaneWeights = 1 << 16;  // most weights of a gradient that is summed in lanes

  Conv2dProblem problem_;
  const float *x_, *dy_;
  GradientTarget target_;
  float* dbias_;
  int panels_, r_pieces_, lanes_;  // lanes_ 0: none
};

inline Conv2dWgrad::Conv2dWgrad(const Conv2dWgradParams& p)
    : problem_(p.problem),
      x_(static_cast<const float*>(p.x)),
      dy_(static_cast<const float*>(p.dy)),
      target_{p.dweight, p.accumulate, p.sgd},
      dbias_(p.dbias) {
  panels_ = (problem_.group_k() + kColumns - 1) / kColumns;
  const int wholes = panels_ * problem_.groups;
  lanes_ = 0;
  if (int64_t{problem_.K} * problem_.R * run() <= kLaneWeights && problem_.N > 1) {
    lanes_ = problem_.N < kLaneCount ? problem_.N : kLaneCount;
    workspace_floats_ = lanes_ * lane_floats();
    tiles_[0] = lanes_;
    tiles_[1] = wholes;
    return;
  }
  constexpr int kTiles = 12;
  r_pieces_ = (kTiles + wholes - 1) / wholes;
  // The sums of a tile should leave half of the cache to what they are made of.
  const size_t sums = sizeof(float) * panel_floats(problem_.R);
  const int pieces = static_cast<int>((sums + l2_bytes() / 2 - 1) / (l2_bytes() / 2));
  r_pieces_ = r_pieces_ > pieces ? r_pieces_ : pieces;
  r_pieces_ = r_pieces_ < problem_.R ? r_pieces_ : problem_.R;
  tiles_[0] = wholes * r_pieces_;
}

inline void Conv2dWgrad::tile(int phase, int index, float* workspace) {
  if (lanes_ == 0) {
    whole_sums(index);
  } else if (phase == 0) {
    add_lane(index, workspace + index * lane_floats());
  } else {
    finish_lanes(index, workspace);
  }
}

// A lane lies as [group, panel, filter row, column, kColumns], the biases behind.
inline void Conv2dWgrad::add_lane(int lane, float* sums) const {
  Pieces images(problem_.N, 1);
  images.pieces = lanes_;
  const ptrdiff_t group_floats = panel_floats(problem_.R) * panels_;
  zero_floats(sums, lane_floats());
  float* buffer = scratch(buffer_floats(problem_.R));
  for (int g = 0; g < problem_.groups; ++g) {
    float* bias = sums + group_floats * problem_.groups + static_cast<ptrdiff_t>(g) * panels_ * kColumns;
    add_images({g, 0, panels_, 0, problem_.R}, images.begin(lane), images.begin(lane + 1), buffer,
               sums + g * group_floats, bias);
  }
}

inline void Conv2dWgrad::finish_lanes(int panel, const float* workspace) const {
  const ptrdiff_t floats = panel_floats(problem_.R);
  float* c = scratch(static_cast<size_t>(floats) + kColumns);
  for (int lane = 0; lane < lanes_; ++lane) {
    const float* sums = workspace + lane * lane_floats();
    const float* bias = sums + floats * panels_ * problem_.groups + static_cast<ptrdiff_t>(panel) * kColumns;
    for (ptrdiff_t i = 0; i < floats; i += kLanes) {
      const Vector v = load(sums + panel * floats + i);
      store(c + i, lane == 0 ? v : load(c + i) + v);
    }
    for (int j = 0; j < kColumns; ++j) c[floats + j] = lane == 0 ? bias[j] : c[floats + j] + bias[j];
  }
  const Part part = {panel / panels_, panel % panels_, 1, 0, problem_.R};
  write(part, c);
  if (!dbias_) return;
  copy_floats(dbias_ + part.group * problem_.group_k() + part.panel * kColumns, c + floats, columns(part.panel));
}

inline void Conv2dWgrad::whole_sums(int index) const {
  Pieces filter_rows(problem_.R, 1);
  filter_rows.pieces = r_pieces_;
  const int piece = index % r_pieces_, panel = index / r_pieces_;
  const Part part = {panel / panels_, panel % panels_, 1, filter_rows.begin(piece), filter_rows.size(piece)};
  const ptrdiff_t sums = panel_floats(part.rows_r);
  float* c = scratch(static_cast<size_t>(sums) + kColumns + buffer_floats(part.rows_r));
  zero_floats(c, sums + kColumns);
  const bool bias = dbias_ && part.first_r == 0;
  add_images(part, 0, problem_.N, c + sums + kColumns, c, bias ? c + sums : nullptr);
  write(part, c);
  if (bias)
    copy_floats(dbias_ + part.group * problem_.group_k() + part.panel * kColumns, c + sums, columns(part.panel));
}

inline void Conv2dWgrad::add_images(const Part& part, int first, int end, float* buffer, float* c, float* bias) const {
  const Conv2dProblem& p = problem_;
  const int P = p.P, Q = p.Q, last = part.panel + part.panels - 1;
  float* packed = columns(last) < kColumns ? buffer : nullptr;  // a panel that is not full
  for (int n = first; n < end; ++n) {
    const float* x = x_ + static_cast<ptrdiff_t>(n) * p.H * p.W * p.xp() + part.group * p.group_c();
    const float* dy = dy_ + static_cast<ptrdiff_t>(n) * P * Q * p.yp() + part.group * p.group_k();
    const Window window = take_window({x, p.H, p.W, static_cast<ptrdiff_t>(p.xp()), p.group_c()},
                                      part.first_r - p.padding_h, -p.padding_w, (P - 1) * p.stride_h + part.rows_r,
                                      (Q - 1) * p.stride_w + p.S, buffer + static_cast<ptrdiff_t>(P) * Q * kColumns);
    if (packed) pack_columns(dy + last * kColumns, p.yp(), columns(last), P * Q, packed);
    add_image(part, window, dy, packed, c, bias);
  }
}

// Row by row of the image, so that a bias's sum of a hundred thousand numbers is one of some thousands of sums.
inline void add_rows(const float* dy, ptrdiff_t segment, ptrdiff_t step, int rows, int Q, float* bias) {
  Vector block[kVectors] = {};
  for (int p = 0; p < rows; ++p) {
    Vector row[kVectors] = {};
    for (int q = 0; q < Q; ++q) {
      for (int v = 0; v < kVectors; ++v) row[v] += load(dy + p * segment + q * step + v * kLanes);
    }
    for (int v = 0; v < kVectors; ++v) block[v] += row[v];
  }
  for (int v = 0; v < kVectors; ++v) store(bias + v * kLanes, load(bias + v * kLanes) + block[v]);
}

// `last` is the last panel of dy, packed, where it is not full.
inline void Conv2dWgrad::add_image(const Part& part, const Window& x, const float* dy, const float* last, float* c,
                                   float* bias) const {
  // Positions that a tile of C is kept in registers for: enough to hide its loads and stores, few enough that what
  // they read stays in the first cache while the filter row is gone through.
  constexpr int kPositions = 256;
  const int P = problem_.P, Q = problem_.Q, most = kPositions / Q > 0 ? kPositions / Q : 1;
  const Pieces blocks(P, most), across(run(), kRows);
  for (int block = 0; block < blocks.pieces; ++block) {
    const int p = blocks.begin(block), rows = blocks.size(block);
    for (int i = 0; i < part.panels; ++i) {
      const int panel = part.panel + i;
      const bool packed = last && i == part.panels - 1;
      const ptrdiff_t step = packed ? kColumns : problem_.yp();
      const OperandB b = {(packed ? last : dy + panel * kColumns) + p * Q * step, Q * step, step};
      if (bias) add_rows(b.data, b.segment, b.step, rows, Q, bias + i * kColumns);
      for (int r = 0; r < part.rows_r; ++r) {
        const float* a = x.data + (static_cast<ptrdiff_t>(p) * problem_.stride_h + r) * x.row;
        float* sums = c + i * panel_floats(part.rows_r) + static_cast<ptrdiff_t>(r) * run() * kColumns;
        for (int j = 0; j < across.pieces; ++j) {
          const int at = across.begin(j);
          kernel<false>(across.size(j), columns(panel))(
              rows, Q, {a + at, problem_.stride_h * x.row, problem_.stride_w * x.pixel, 1}, b,
              sums + static_cast<ptrdiff_t>(at) * kColumns, true);
        }
      }
    }
  }
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
      for (int j = 0; j < columns(part.panel); ++j) {
        target_.take(pieces + j * kPiece, (first + j) * filter + tap * problem_.wp() + from, count);
      }
    }
  }
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
