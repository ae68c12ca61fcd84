/* planted.h: kernel tables with one wrong slot each. */
#ifndef BT_TESTS_KERNELS_PLANTED_H
#define BT_TESTS_KERNELS_PLANTED_H

#include "backend/cpu/kernels.h"

/* Numbers of the first slot that carries a state, and of the first product by weight type. */
enum { PLANTED_RECURRENT = 11, PLANTED_TYPES = 15 };

unsigned planted_count(void);
/* Copy k to out with its i-th slot wrong; the slot's name, or NULL where k has none. One at a time. */
const char *planted_table(unsigned i, const struct bt_cpu_kernels *k, struct bt_cpu_kernels *out);

#endif
