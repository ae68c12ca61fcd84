/* kernels.c: the levels of the CPU back end, and filling the kernel table with them. */
#include "backend/cpu/kernels.h"
#include "backend/cpu/levels.h"

#if defined __x86_64__
#include <cpuid.h>
#endif
#include <string.h>

static const char *const level_names[BT_CPU_LEVELS] = {
	[BT_CPU_C] = "c",
	[BT_CPU_AVX2] = "avx2",
	[BT_CPU_AVX512] = "avx512",
	[BT_CPU_AVX512V] = "avx512vnni",
};

const char *bt_cpu_level_name(enum bt_cpu_level level)
{
	return level_names[level];
}

bool bt_cpu_level_by_name(const char *name, enum bt_cpu_level *out)
{
	for (int i = 0; i < BT_CPU_LEVELS; i++)
		if (!strcmp(name, level_names[i])) {
			*out = (enum bt_cpu_level)i;
			return true;
		}
	return false;
}

#if defined __x86_64__
/* clang 14's __builtin_cpu_supports does not know it. */
static bool has_f16c(void)
{
	unsigned a, b, c = 0, d;
	return __get_cpuid(1, &a, &b, &c, &d) && (c & bit_F16C);
}
#endif

bool bt_cpu_level_supported(enum bt_cpu_level level)
{
	if (level == BT_CPU_C) return true;
#if defined __x86_64__
	/* __builtin_cpu_supports also asks whether the system saves the wide registers */
	__builtin_cpu_init();
	bool avx2 = __builtin_cpu_supports("avx2") && __builtin_cpu_supports("fma") && has_f16c();
	bool avx512 = avx2 && __builtin_cpu_supports("avx512f") && __builtin_cpu_supports("avx512bw") &&
	              __builtin_cpu_supports("avx512dq") && __builtin_cpu_supports("avx512vl");
	if (level == BT_CPU_AVX2) return avx2;
	if (level == BT_CPU_AVX512) return avx512;
	if (level == BT_CPU_AVX512V) return avx512 && __builtin_cpu_supports("avx512vnni");
#endif
	return false;
}

enum bt_cpu_level bt_cpu_level_native(void)
{
	int level = BT_CPU_LEVELS - 1;
	while (!bt_cpu_level_supported((enum bt_cpu_level)level)) level--;
	return (enum bt_cpu_level)level;
}

void bt_cpu_init_c(struct bt_cpu_kernels *k, const struct bt_cpu_sizes *sizes)
{
	k->scratch = bt_ref_scratch(sizes);
	k->matmul_rows = 1;
	k->quantize_row = bt_ref_quantize_row;
	k->pack = bt_ref_pack;
	k->pack_tile = 1;
	for (uint32_t id = 0; id < BT_TYPE_COUNT; id++) {
		const struct bt_type *type = bt_type_get(id);
		if (type) k->matmul[id] = type->group ? bt_ref_matmul_int : bt_ref_matmul_float;
	}
	k->matmul_exact = bt_ref_matmul_float;
	k->rms_norm = bt_ref_rms_norm;
	k->add = bt_ref_add;
	k->silu_mul = bt_ref_silu_mul;
	k->sigmoid_mul = bt_ref_sigmoid_mul;
	k->relu2 = bt_ref_relu2;
	k->rope = bt_ref_rope;
	k->softmax = bt_ref_softmax;
	k->kv_pack = bt_ref_kv_pack;
	k->conv = bt_ref_conv;
	k->delta_net = bt_ref_delta_net;
	k->mamba2 = bt_ref_mamba2;
	k->attention = bt_ref_attention;
	k->attention_split = NULL;
	k->attention_join = NULL;
	k->attn_tile = 8;
}

void bt_cpu_kernels_init(struct bt_cpu_kernels *k, enum bt_cpu_level level, size_t k_max, size_t d_max)
{
	struct bt_cpu_sizes sizes = {.k_max = k_max, .d_max = d_max};
	enum bt_cpu_level native = bt_cpu_level_native();
	memset(k, 0, sizeof *k);
	k->level = level < native ? level : native;
	bt_cpu_init_c(k, &sizes);
#if defined __x86_64__
	if (k->level >= BT_CPU_AVX2) bt_cpu_init_avx2(k, &sizes);
	if (k->level >= BT_CPU_AVX512) bt_cpu_init_avx512(k, &sizes);
	if (k->level >= BT_CPU_AVX512V) bt_cpu_init_avx512vnni(k, &sizes);
#endif
	k->scratch = (k->scratch + BT_MEM_ALIGN - 1) / BT_MEM_ALIGN * BT_MEM_ALIGN; /* for the next thread's */
}
