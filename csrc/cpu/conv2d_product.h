// fprop and dgrad: patches times weights. A tile of C is up to kRows neighbouring output positions of one image row by
// kColumns output channels, over the whole depth: sums never leave the registers half done.
//
// dgrad is the same product with dy for x and the weights turned round. A stride leaves of the input positions classes,
// (h mod stride_h, w mod stride_w), each of which saw taps of its own: each is a convolution of stride 1.
#pragma once

#include "cpu/pack.h"
#include "cpu/tile.h"
#include "cpu/window.h"
#include "cpu/work.h"
#include "ops/conv2d.h"

namespace alexnet::cpu::ALEXNET_CPU_ISA {

// The outputs first_h + i * step_h, first_w + j * step_w: patch (i, j) begins at i * stride_h - padding_h, ... and has
// taps of the filter: tap t down is the filter's row tap_h + t * tap_step_h.
struct Lattice {
  int rows, columns;
  int first_h, first_w, step_h, step_w;
  int taps_h, taps_w;
  int tap_h, tap_w, tap_step_h, tap_step_w;
  int stride_h, stride_w, padding_h, padding_w;
  ptrdiff_t packed;  // where its weights lie in the workspace
};

class Conv2dProduct : public Work {
 public:
  explicit Conv2dProduct(const Conv2dFpropParams& p);
  explicit Conv2dProduct(const Conv2dDgradParams& p);
  ~Conv2dProduct() override { delete[] lattices_; }

 protected:
  void tile(int phase, int index, float* workspace) override {
    phase == 0 ? pack(index, workspace) : multiply_tile(index, workspace);
  }

 private:
  void plan();
  void pack(int index, float* workspace) const;
  void multiply_tile(int index, const float* workspace) const;
  void multiply_rows(const Lattice& l, int n, int group, Pieces rows, int row_piece, Pieces panels, int panel_piece,
                     const float* weights) const;
  ptrdiff_t depth(const Lattice& l) const { return static_cast<ptrdiff_t>(l.taps_h) * l.taps_w * in_.channels; }

  Conv2dProblem problem_;
  const float* weight_;
  bool turned_;  // dgrad
  Image in_;     // the first image's; channels of a group
  int out_height_, out_width_, out_channels_;
  ptrdiff_t out_pitch_;
  Epilogue epilogue_;
  Lattice* lattices_;
  int count_;   // of lattices
  int panels_;  // of a group
  int row_pieces_, panel_pieces_;
};

inline Conv2dProduct::Conv2dProduct(const Conv2dFpropParams& p)
    : problem_(p.problem),
      weight_(static_cast<const float*>(p.weight)),
      turned_(false),
      in_{static_cast<const float*>(p.x), p.problem.H, p.problem.W, p.problem.xp(), p.problem.group_c()},
      out_height_(p.problem.P),
      out_width_(p.problem.Q),
      out_channels_(p.problem.group_k()),
      out_pitch_(p.problem.yp()),
      epilogue_{static_cast<float*>(p.y), p.addend, p.bias, nullptr, 1.f, p.activation},
      lattices_(new Lattice[1]),
      count_(1) {
  lattices_[0] = {out_height_,
                  out_width_,
                  0,
                  0,
                  1,
                  1,
                  problem_.R,
                  problem_.S,
                  0,
                  0,
                  1,
                  1,
                  problem_.stride_h,
                  problem_.stride_w,
                  problem_.padding_h,
                  problem_.padding_w,
                  0};
  plan();
}

// Taps of one dimension that positions first, first + stride, ... saw, last tap first.
struct Taps {
  int count, last, padding;
};
inline Taps taps_of(int first, int stride, int padding, int filter) {
  const int least = (first + padding) % stride;
  const int count = filter > least ? (filter - least + stride - 1) / stride : 0;
  return {count, least + (count - 1) * stride, count - 1 - (first + padding - least) / stride};
}

inline Conv2dProduct::Conv2dProduct(const Conv2dDgradParams& p)
    : problem_(p.problem),
      weight_(static_cast<const float*>(p.weight)),
      turned_(true),
      in_{static_cast<const float*>(p.dy), p.problem.P, p.problem.Q, p.problem.yp(), p.problem.group_k()},
      out_height_(p.problem.H),
      out_width_(p.problem.W),
      out_channels_(p.problem.group_c()),
      out_pitch_(p.problem.xp()),
      epilogue_{static_cast<float*>(p.dx),         p.addend,     nullptr,
                static_cast<const float*>(p.mask), p.mask_scale, Activation::kNone} {
  const int sh = problem_.stride_h, sw = problem_.stride_w;
  const int classes_h = sh < problem_.H ? sh : problem_.H, classes_w = sw < problem_.W ? sw : problem_.W;
  count_ = classes_h * classes_w;
  lattices_ = new Lattice[count_];
  for (int i = 0; i < count_; ++i) {
    const int h = i / classes_w, w = i % classes_w;
    const Taps down = taps_of(h, sh, problem_.padding_h, problem_.R);
    const Taps across = taps_of(w, sw, problem_.padding_w, problem_.S);
    lattices_[i] = {(problem_.H - h + sh - 1) / sh,
                    (problem_.W - w + sw - 1) / sw,
                    h,
                    w,
                    sh,
                    sw,
                    down.count,
                    across.count,
                    down.last,
                    across.last,
                    -sh,
                    -sw,
                    1,
                    1,
                    down.padding,
                    across.padding,
                    0};
  }
  plan();
}

inline void Conv2dProduct::plan() {
  panels_ = (out_channels_ + kColumns - 1) / kColumns;
  int most_rows = 1;
  for (int i = 0; i < count_; ++i) {
    Lattice& l = lattices_[i];
    l.packed = workspace_floats_;
    workspace_floats_ += depth(l) * kColumns * panels_ * problem_.groups;
    most_rows = l.rows > most_rows ? l.rows : most_rows;
  }
  // Whole images and groups are tiles; of few of them, panels or rows are shared out too, so that many threads have
  // work. And a window should take no more than a quarter of the cache that the panel shares with it.
  constexpr int kTiles = 16;
  const int wholes = problem_.N * problem_.groups * count_;
  panel_pieces_ = row_pieces_ = 1;
  if (wholes > 0 && wholes < kTiles) {
    const int wanted = (kTiles + wholes - 1) / wholes;
    panel_pieces_ = panels_ < wanted ? panels_ : wanted;
    row_pieces_ = (wanted + panel_pieces_ - 1) / panel_pieces_;
  }
  const size_t window = sizeof(float) * in_.height * in_.width * in_.channels;
  const int pieces = static_cast<int>((window + l2_bytes() / 4 - 1) / (l2_bytes() / 4));
  row_pieces_ = row_pieces_ > pieces ? row_pieces_ : pieces;
  row_pieces_ = row_pieces_ < most_rows ? row_pieces_ : most_rows;
  tiles_[0] = count_ * problem_.groups * panels_;
  tiles_[1] = wholes * panel_pieces_ * row_pieces_;
}

inline void Conv2dProduct::pack(int index, float* workspace) const {
  const int panel = index % panels_, group = index / panels_ % problem_.groups;
  const Lattice& l = lattices_[index / panels_ / problem_.groups];
  const int left = out_channels_ - panel * kColumns, columns = left < kColumns ? left : kColumns;
  float* to = workspace + l.packed + (static_cast<ptrdiff_t>(group) * panels_ + panel) * depth(l) * kColumns;
  const ptrdiff_t pitch = problem_.wp(), filter = pitch * problem_.R * problem_.S;
  const bool dense = !turned_ && pitch == in_.channels;
  if (dense) {
    const ptrdiff_t first = static_cast<ptrdiff_t>(group) * out_channels_ + panel * kColumns;
    return pack_rows(weight_ + first * filter, filter, columns, static_cast<int>(depth(l)), to);
  }
  for (int t = 0; t < l.taps_h; ++t) {
    for (int u = 0; u < l.taps_w; ++u, to += static_cast<ptrdiff_t>(in_.channels) * kColumns) {
      const int tap = (l.tap_h + t * l.tap_step_h) * problem_.S + l.tap_w + u * l.tap_step_w;
      const float* w = weight_ + tap * pitch;
      if (turned_) {
        w += static_cast<ptrdiff_t>(group) * in_.channels * filter + panel * kColumns;
        pack_columns(w, filter, columns, in_.channels, to);
      } else {
        w += (static_cast<ptrdiff_t>(group) * out_channels_ + panel * kColumns) * filter;
        pack_rows(w, filter, columns, in_.channels, to);
      }
    }
  }
}

inline void Conv2dProduct::multiply_tile(int index, const float* workspace) const {
  const int panel_piece = index % panel_pieces_;
  index /= panel_pieces_;
  const int row_piece = index % row_pieces_;
  index /= row_pieces_;
  const int group = index % problem_.groups;
  index /= problem_.groups;
  const Lattice& l = lattices_[index % count_];
  Pieces rows(l.rows, 1), panels(panels_, 1);
  rows.pieces = row_pieces_;
  panels.pieces = panel_pieces_;
  const float* weights = workspace + l.packed + static_cast<ptrdiff_t>(group) * panels_ * depth(l) * kColumns;
  multiply_rows(l, index / count_, group, rows, row_piece, panels, panel_piece, weights);
}

inline void Conv2dProduct::multiply_rows(const Lattice& l, int n, int group, Pieces rows, int row_piece, Pieces panels,
                                         int panel_piece, const float* weights) const {
  const int count = rows.size(row_piece), first = rows.begin(row_piece);
  if (count == 0) return;
  Image image = in_;
  image.data += static_cast<ptrdiff_t>(n) * in_.height * in_.width * in_.pitch + group * in_.channels;
  const int high = (count - 1) * l.stride_h + l.taps_h, wide = (l.columns - 1) * l.stride_w + l.taps_w;
  float* c = scratch(kRows * kColumns + window_floats(high, wide, in_.channels));
  const Window window =
      take_window(image, first * l.stride_h - l.padding_h, -l.padding_w, high, wide, c + kRows * kColumns);
  const int run = l.taps_w * in_.channels;
  const Pieces across(l.columns, kRows);
  const ptrdiff_t step = l.step_w * out_pitch_;
  for (int panel = panels.begin(panel_piece); panel < panels.begin(panel_piece + 1); ++panel) {
    const OperandB b = {weights + panel * depth(l) * kColumns, static_cast<ptrdiff_t>(run) * kColumns, kColumns};
    const int left = out_channels_ - panel * kColumns, columns = left < kColumns ? left : kColumns;
    const ptrdiff_t channel = static_cast<ptrdiff_t>(group) * out_channels_ + panel * kColumns;
    for (int i = 0; i < count; ++i) {
      const ptrdiff_t h = l.first_h + static_cast<ptrdiff_t>(first + i) * l.step_h;
      const ptrdiff_t line = ((n * static_cast<ptrdiff_t>(out_height_) + h) * out_width_ + l.first_w) * out_pitch_;
      for (int piece = 0; piece < across.pieces; ++piece) {
        const int q = across.begin(piece), m = across.size(piece);
        const float* a = window.data + i * l.stride_h * window.row + q * l.stride_w * window.pixel;
        kernel<true>(m, columns)(l.taps_h, run, {a, window.row, 1, l.stride_w * window.pixel}, b, c, false);
        store_tile(epilogue_, c, kColumns, m, columns, line + q * step + channel, step, channel);
      }
    }
  }
}

}  // namespace alexnet::cpu::ALEXNET_CPU_ISA
