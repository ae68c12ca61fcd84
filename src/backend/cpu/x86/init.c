/* init.c: what this level overwrites in the kernel table. */
#include "backend/cpu/levels.h"
#include "backend/cpu/x86/attn.h"
#include "backend/cpu/x86/matmul_float.h"
#include "backend/cpu/x86/matmul_int.h"
#include "backend/cpu/x86/ops.h"
#include "backend/cpu/x86/recurrent.h"

#define INIT_NAME_(level) bt_cpu_init_##level
#define INIT_NAME(level)  INIT_NAME_(level)

void INIT_NAME(BT_LEVEL)(struct bt_cpu_kernels *k, const struct bt_cpu_sizes *sizes)
{
	for (uint32_t id = 0; id < BT_TYPE_COUNT; id++) {
		const struct bt_type *type = bt_type_get(id);
		if (type) k->matmul[id] = type->group ? LEVEL_NAME(matmul_int) : LEVEL_NAME(matmul_float);
	}
	k->matmul_exact = LEVEL_NAME(matmul_float);
	k->matmul_rows = PANEL;
	const size_t scratch[] = {LEVEL_NAME(matmul_int_scratch)(sizes->k_max),
	                          LEVEL_NAME(matmul_float_scratch)(sizes->k_max),
	                          LEVEL_NAME(attention_scratch)(sizes->d_max)};
	for (size_t i = 0; i < sizeof scratch / sizeof *scratch; i++)
		if (scratch[i] > k->scratch) k->scratch = scratch[i];
	k->pack = LEVEL_NAME(pack);
	k->pack_tile = TILE_MAX;
	k->pack_block = PACK_BLOCK;
	k->quantize_row = LEVEL_NAME(quantize_row);
	k->rms_norm = LEVEL_NAME(rms_norm);
	k->add = LEVEL_NAME(add);
	k->silu_mul = LEVEL_NAME(silu_mul);
	k->sigmoid_mul = LEVEL_NAME(sigmoid_mul);
	k->relu2 = LEVEL_NAME(relu2);
	k->rope = LEVEL_NAME(rope);
	k->softmax = LEVEL_NAME(softmax);
	k->kv_pack = LEVEL_NAME(kv_pack);
	k->conv = LEVEL_NAME(conv);
	k->delta_net = LEVEL_NAME(delta_net);
	k->mamba2 = LEVEL_NAME(mamba2);
	k->attention = LEVEL_NAME(attention);
	k->attention_split = LEVEL_NAME(attention_split);
	k->attention_join = LEVEL_NAME(attention_join);
	k->attn_tile = ATTN_TILE;
}
