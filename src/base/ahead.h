/* ahead.h: asking the system for parts of mapped files before they are touched.
 *
 * A page that is touched before it is in memory stops its thread for one round trip to the disk, and the system has to
 * guess what will be wanted next: it reads around the page, up to megabytes on some machines, of which a model with
 * experts uses a few per cent. Who knows which bytes come next says so instead: all of them are under way at once,
 * and nothing else is read.
 *
 * Asking costs a look at every page, so it is done only as long as it serves: while a step still brings in something.
 * The system counts what a process reads; a step without reads means that all it touched was there.
 */
#ifndef BT_BASE_AHEAD_H
#define BT_BASE_AHEAD_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

struct bt_ahead {
	bool cold;      /* ask; false: what was touched lately was in memory */
	bool began;     /* reads below have been counted */
	uint64_t reads; /* of this process, when the last step began */
};

/* A step begins: set cold by what happened since the last one began. The first step is always cold. */
void bt_ahead_step(struct bt_ahead *a);
/* Have the system read the pages that bytes p .. p + n - 1 lie in; returns before they are there. Pages in memory and
 * memory that is no file's are left alone; failure is harmless. */
void bt_ahead_ask(const void *p, size_t n);

#endif
