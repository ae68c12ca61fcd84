/* emu_driver.h: the emulator as a GPU driver (src/backend/gpu/driver.h). */
#ifndef BT_TESTS_GPU_EMU_DRIVER_H
#define BT_TESTS_GPU_EMU_DRIVER_H

#include "backend/gpu/driver.h"

/* Its device number is the width of its subgroups: 8, 32 or 64. */
extern const struct bt_gpu_driver emu_driver;

#endif
