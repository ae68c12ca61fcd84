/* faulty_driver.h: the emulator as a driver that fails when it is told to, and as a back end for sessions.
 *
 * Every call that can fail so is counted: open, alloc, prepare, record, start, and wait by loss. Call fail_at fails with `with`; after
 * BATON_ERR_DEVICE the device is lost, as driver.h has it: all that follows fails likewise, but free, discard and close.
 *
 * What is started runs at once or, where `late` is set, as late as it may: when it is waited for.
 */
#ifndef BT_TESTS_GPU_FAULTY_DRIVER_H
#define BT_TESTS_GPU_FAULTY_DRIVER_H

#include "backend/gpu/device.h"

struct faulty {
	unsigned calls, fail_at; /* since faulty_arm; 0: none fails */
	enum baton_status with;
	unsigned devices, blocks, recordings; /* that live */
	unsigned opened;                      /* devices, ever */
	uint64_t memory;                      /* bytes of blocks on the card that live */
	uint64_t limit;                       /* and may; 0: any number */
	uint64_t weights;                     /* bytes of weights taken, ever */
	uint64_t part;      /* of devices opened from now on: bytes of a part of a matrix at most; 0: as usual */
	uint64_t max_alloc; /* what the device is said to give at once; 0: any amount */
	unsigned kernels;   /* made ready, ever, each device's own */
	bool backwards;     /* what stands between two barriers is recorded in the opposite order */
	unsigned beside;    /* commands recorded that may run beside the one before them, ever */
	bool late;
	unsigned under_way; /* recordings that were started and have not run */
	unsigned
		harm; /* how often memory or a recording was given back while recordings that may use it were under way */
};
extern struct faulty faulty;

/* From now on call n fails, once, with that status. n 0: none. */
void faulty_arm(unsigned n, enum baton_status with);

extern const struct bt_gpu_driver faulty_driver;
extern const struct bt_backend bt_backend_faulty; /* "GPU0" */

#endif
