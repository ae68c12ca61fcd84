/* init.c: what this level overwrites in the kernel table. */
#include "backend/cpu/levels.h"
#include "backend/cpu/x86/matmul_int.h"

#define INIT_NAME_(level) bt_cpu_init_##level
#define INIT_NAME(level)  INIT_NAME_(level)

void INIT_NAME(BT_LEVEL)(struct bt_cpu_kernels *k, const struct bt_cpu_sizes *sizes)
{
	for (uint32_t id = 0; id < BT_TYPE_COUNT; id++) {
		const struct bt_type *type = bt_type_get(id);
		if (type && type->group) k->matmul[id] = LEVEL_NAME(matmul_int);
	}
	k->matmul_rows = PANEL;
	size_t scratch = LEVEL_NAME(matmul_int_scratch)(sizes->k_max);
	if (scratch > k->scratch) k->scratch = scratch;
}
