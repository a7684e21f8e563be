// The convolution's matrix products in one precision: operands, launch and reduction of the splits. Each precision is a
// file of its own (conv2d_<precision>.cu), so that several compilers can work at once.
#pragma once

#include <cstdint>
#include <initializer_list>
#include <stdexcept>
#include <type_traits>

#include "common/dispatch.h"
#include "common/elementwise.h"
#include "common/launch.h"
#include "ops/conv2d.cuh"
#include "ops/conv2d.h"

namespace alexnet {

template <typename T>
T* at_offset(void* workspace, int64_t bytes) {
  return reinterpret_cast<T*>(static_cast<char*>(workspace) + bytes);
}

// Each direction takes the plan's problem, folded where the plan says so, with the tensors and the workspace of params.
template <Precision kPrecision>
struct Conv2dGemm {
  using T = typename Mma<kPrecision>::T;
  static constexpr int kChunk = 16 / sizeof(T);

  // Of a shape that the launch choice knows, with warps and stages.
  template <GemmTile kTile, int kWarpsM, int kWarpsN, int kStages>
  using Tile = TileShape<tile_size(kTile).m, tile_size(kTile).n, kWarpsM, kWarpsN, kStages,
                         blocks_by_registers(kTile, kPrecision)>;
  // Of a square 128 x 128 tile each of 8 warps multiplies 64 x 32: 96 FLOP for each number read from shared memory.
  using Tile128x128 = Tile<GemmTile::k128x128, 2, 4, 3>;
  // 96 columns are conv1 whole and half of conv4's 192, which 128 would leave a quarter empty.
  using Tile128x96 = Tile<GemmTile::k128x96, 2, 3, 3>;
  // 48 columns are one of conv2's groups in dgrad and one tower's conv1; 64 would leave a quarter empty.
  using Tile192x48 = Tile<GemmTile::k192x48, 6, 1, 3>;
  // Small problems: four times the blocks; three of them share a multiprocessor.
  using Tile64x64 = Tile<GemmTile::k64x64, 2, 2, 4>;
  // Fully connected layers on a few images: all of the block's reads are weights.
  using Tile16x128 = Tile<GemmTile::k16x128, 1, 4, 4>;

  static void fprop(const Conv2dPlan& plan, const Conv2dFpropParams& params, cudaStream_t stream);
  static void dgrad(const Conv2dPlan& plan, const Conv2dDgradParams& params, cudaStream_t stream);
  static void wgrad(const Conv2dPlan& plan, const Conv2dWgradParams& params, cudaStream_t stream);

 private:
  static PatchSource<T> patches(const Conv2dProblem& p, const void* x);
  static OutputLayout layout(const Conv2dPlan& plan, int64_t group_pitch, int64_t row_pitch, int segment,
                             int64_t segment_pitch, std::initializer_list<const void*> pointers);
  static BlockMap block_map(const Conv2dPlan& plan, void* workspace);
  template <class Epilogue>
  static void reduce(const Conv2dPlan& plan, const Epilogue& epilogue, void* workspace, cudaStream_t stream);

  template <class Shape, bool kKMajorA, bool kKMajorB>
  static constexpr size_t shared_bytes() {
    constexpr size_t kBytes = gemm_shared_bytes<Mma<kPrecision>, Shape, kKMajorA, kKMajorB>();
    static_assert(is_known_shared_memory(Shape::kTileM, Shape::kTileN, kBytes), "the launch choice counts on another");
    return kBytes;
  }

  // Calls function(Shape{}, std::bool_constant<vector>{}).
  template <bool kKMajorA, class Function>
  static void dispatch_tile(const GemmConfig& config, Function&& function) {
    if (!config.vector) return function(Tile64x64{}, std::false_type{});
    switch (config.tile) {
      case GemmTile::k128x128:
        return function(Tile128x128{}, std::true_type{});
      case GemmTile::k128x96:
        return function(Tile128x96{}, std::true_type{});
      case GemmTile::k192x48:
        if constexpr (kKMajorA) return function(Tile192x48{}, std::true_type{});
        break;
      case GemmTile::k64x64:
        return function(Tile64x64{}, std::true_type{});
      case GemmTile::k16x128:
        if constexpr (kKMajorA) return function(Tile16x128{}, std::true_type{});
        break;
    }
    throw std::logic_error("no kernel for this tile");
  }

  static dim3 grid(const Conv2dPlan& plan) {
    const int64_t tiles = plan.config.tiles_m(plan.gemm) * plan.config.tiles_n(plan.gemm);
    return {static_cast<unsigned>(tiles), static_cast<unsigned>(plan.gemm.groups * plan.config.splits)};
  }
};

template <Precision kPrecision>
PatchSource<typename Mma<kPrecision>::T> Conv2dGemm<kPrecision>::patches(const Conv2dProblem& p, const void* x) {
  PatchSource<T> source{};
  source.data = static_cast<const T*>(x);
  source.rows = static_cast<int32_t>(p.output_positions());
  source.columns = p.R * p.S * p.group_c();
  source.height = p.H;
  source.width = p.W;
  source.pitch = static_cast<int32_t>(p.xp());
  source.stride_h = p.stride_h;
  source.stride_w = p.stride_w;
  source.padding_h = p.padding_h;
  source.padding_w = p.padding_w;
  source.image = FastDivmod(p.P * p.Q);
  source.image_row = FastDivmod(p.Q);
  source.channels = FastDivmod(p.group_c());
  source.filter_w = FastDivmod(p.S);
  source.group_pitch = p.group_c();
  return source;
}

// `pointers`: all that the epilogue accesses.
template <Precision kPrecision>
OutputLayout Conv2dGemm<kPrecision>::layout(const Conv2dPlan& plan, int64_t group_pitch, int64_t row_pitch, int segment,
                                            int64_t segment_pitch, std::initializer_list<const void*> pointers) {
  OutputLayout layout{};
  layout.rows = static_cast<int32_t>(plan.gemm.m);
  layout.columns = static_cast<int32_t>(plan.gemm.n);
  layout.group_pitch = group_pitch;
  layout.row_pitch = row_pitch;
  layout.segment_pitch = segment_pitch;
  layout.segment = FastDivmod(segment < layout.columns ? segment : kOneSegment);
  layout.vector = group_pitch % kChunk == 0 && row_pitch % kChunk == 0 && segment % kChunk == 0 &&
                  segment_pitch % kChunk == 0 && layout.columns % kChunk == 0 && aligned16(pointers);
  return layout;
}

template <Precision kPrecision>
BlockMap Conv2dGemm<kPrecision>::block_map(const Conv2dPlan& plan, void* workspace) {
  BlockMap map{};
  map.tiles_m = static_cast<int32_t>(plan.config.tiles_m(plan.gemm));
  map.tiles_n = static_cast<int32_t>(plan.config.tiles_n(plan.gemm));
  map.tiles_k = static_cast<int32_t>((plan.gemm.k + plan.config.tile_k - 1) / plan.config.tile_k);
  map.splits = plan.config.splits;
  map.tiles_k_per_split = plan.config.tiles_k_per_split;
  // Blocks executed at the same time should share the longer operand, which the cache holds less of.
  map.n_first = map.tiles_m >= map.tiles_n;
  map.partial = at_offset<float>(workspace, plan.partial_offset);
  return map;
}

template <Precision kPrecision>
template <class Epilogue>
void Conv2dGemm<kPrecision>::reduce(const Conv2dPlan& plan, const Epilogue& epilogue, void* workspace,
                                    cudaStream_t stream) {
  if (plan.config.splits == 1) return;
  const int64_t count = plan.gemm.m * plan.gemm.n;
  const ElementwiseConfig config =
      elementwise_config({count, static_cast<int>(sizeof(T)), epilogue.vector}, current_machine());
  dispatch_vector<T>(config.vector, [&](auto vector) {
    launch<gemm_reduce_kernel<Epilogue, vector()>>(dim3(config.grid, plan.gemm.groups), config.block, 0, stream,
                                                   at_offset<const float>(workspace, plan.partial_offset),
                                                   plan.config.splits, epilogue);
  });
}

template <Precision kPrecision>
void Conv2dGemm<kPrecision>::fprop(const Conv2dPlan& plan, const Conv2dFpropParams& params, cudaStream_t stream) {
  const Conv2dProblem& p = plan.problem;
  StridedSource<T> weight{};
  weight.data = static_cast<const T*>(params.weight);
  weight.rows = p.group_k();
  weight.columns = p.R * p.S * p.group_c();
  weight.row_segment = FastDivmod(kOneSegment);
  weight.row_pitch = p.wp() * p.R * p.S;
  weight.segment = FastDivmod(p.group_c());
  weight.segment_pitch = p.wp();
  weight.group_pitch = weight.row_pitch * p.group_k();
  OutputLayout epilogue_layout =
      layout(plan, p.group_k(), p.yp(), p.group_k(), 0, {params.y, params.bias, params.addend});
  if (params.dropout.step != nullptr) epilogue_layout.vector &= params.dropout.vectors();
  const FpropEpilogue<T> epilogue(epilogue_layout, params);
  dispatch_tile<true>(plan.config, [&](auto shape, auto vector) {
    using Shape = decltype(shape);
    launch<conv2d_fprop_kernel<kPrecision, Shape, vector()>>(
        grid(plan), Shape::kThreads, shared_bytes<Shape, true, true>(), stream, patches(p, params.x), weight,
        block_map(plan, params.workspace), epilogue);
  });
  reduce(plan, epilogue, params.workspace, stream);
}

template <Precision kPrecision>
void Conv2dGemm<kPrecision>::dgrad(const Conv2dPlan& plan, const Conv2dDgradParams& params, cudaStream_t stream) {
  const Conv2dProblem& p = plan.problem;
  GradientPatchSource<T> dy{};
  dy.data = static_cast<const T*>(params.dy);
  dy.rows = static_cast<int32_t>(p.input_positions());
  dy.columns = p.R * p.S * p.group_k();
  dy.height = p.P;
  dy.width = p.Q;
  dy.pitch = static_cast<int32_t>(p.yp());
  dy.padding_h = p.padding_h;
  dy.padding_w = p.padding_w;
  dy.stride_h = FastDivmod(p.stride_h);
  dy.stride_w = FastDivmod(p.stride_w);
  dy.image = FastDivmod(p.H * p.W);
  dy.image_row = FastDivmod(p.W);
  dy.channels = FastDivmod(p.group_k());
  dy.filter_w = FastDivmod(p.S);
  dy.group_pitch = p.group_k();

  StridedSource<T> weight{};  // row (r, s, k), column c
  weight.data = static_cast<const T*>(params.weight);
  weight.rows = dy.columns;
  weight.columns = p.group_c();
  weight.row_segment = FastDivmod(p.group_k());
  weight.row_segment_pitch = p.wp();
  weight.row_pitch = p.wp() * p.R * p.S;
  weight.segment = FastDivmod(kOneSegment);
  weight.group_pitch = weight.row_pitch * p.group_k();
  const DgradEpilogue<T> epilogue(
      layout(plan, p.group_c(), p.xp(), p.group_c(), 0, {params.dx, params.addend, params.mask}), params);
  dispatch_tile<true>(plan.config, [&](auto shape, auto vector) {
    using Shape = decltype(shape);
    launch<conv2d_dgrad_kernel<kPrecision, Shape, vector()>>(grid(plan), Shape::kThreads,
                                                             shared_bytes<Shape, true, false>(), stream, dy, weight,
                                                             block_map(plan, params.workspace), epilogue);
  });
  reduce(plan, epilogue, params.workspace, stream);
}

template <Precision kPrecision>
void Conv2dGemm<kPrecision>::wgrad(const Conv2dPlan& plan, const Conv2dWgradParams& params, cudaStream_t stream) {
  const Conv2dProblem& p = plan.problem;
  StridedSource<T> dy{};
  dy.data = static_cast<const T*>(params.dy);
  dy.rows = static_cast<int32_t>(p.output_positions());
  dy.columns = p.group_k();
  dy.row_segment = FastDivmod(kOneSegment);
  dy.row_pitch = p.yp();
  dy.segment = FastDivmod(kOneSegment);
  dy.group_pitch = p.group_k();
  const int64_t filter = p.wp() * p.R * p.S;
  const WgradEpilogue<T> epilogue(layout(plan, filter * p.group_k(), filter, p.group_c(), p.wp(),
                                         {params.dweight, params.sgd.weights, params.sgd.velocity, params.sgd.copy}),
                                  params);
  dispatch_tile<false>(plan.config, [&](auto shape, auto vector) {
    using Shape = decltype(shape);
    launch<conv2d_wgrad_kernel<kPrecision, Shape, vector()>>(
        grid(plan), Shape::kThreads, shared_bytes<Shape, false, false>(), stream, dy, patches(p, params.x),
        block_map(plan, params.workspace), epilogue);
  });
  reduce(plan, epilogue, params.workspace, stream);
}

// Each is compiled in the file of its precision alone: that halves the time of a build.
extern template struct Conv2dGemm<Precision::kFloat32>;
extern template struct Conv2dGemm<Precision::kTf32>;
extern template struct Conv2dGemm<Precision::kBFloat16>;
extern template struct Conv2dGemm<Precision::kFloat16>;

}  // namespace alexnet
