/* paper.h: a GPU driver that hands out addresses and does nothing else: for looking at what a plan is lowered to, at the
 * size of any model, without the memory and without the card. */
#ifndef BT_TESTS_GPU_PAPER_H
#define BT_TESTS_GPU_PAPER_H

#include "backend/gpu/driver.h"

extern const struct bt_gpu_driver paper_driver;

#endif
