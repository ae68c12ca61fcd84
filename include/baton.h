/* baton.h: the public interface of libbaton.
 *
 * A *model* is an opened GGUF file: immutable, may be shared by threads and by any number of sessions. A *session* is a
 * conversation machine over one model: sequences, their KV cache and recurrent state, the last logits; it is used by
 * one thread at a time. Nothing in the library exits, aborts or prints: every call that can fail returns a status, and
 * the sentence for people stands in the struct baton_error that the caller passed in (may be NULL).
 */
#ifndef BATON_H
#define BATON_H

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

#if defined(BATON_BUILD_SHARED)
#define BATON_API __attribute__((visibility("default")))
#else
#define BATON_API
#endif

/* What went wrong, for machines. Values are stable. */
enum baton_status {
	BATON_OK = 0,
	BATON_ERR_ARG = 1,         /* the caller's mistake: a bad argument, an unknown name */
	BATON_ERR_NOMEM = 2,       /* host or device memory ran out */
	BATON_ERR_IO = 3,          /* a file or the network: missing, unreadable, disk full */
	BATON_ERR_FORMAT = 4,      /* a file or a text is not what it claims to be */
	BATON_ERR_UNSUPPORTED = 5, /* sound, but this build has no code for it */
	BATON_ERR_LIMIT = 6,       /* a limit of src/base/limits.h or of the session (context) is exceeded */
	BATON_ERR_DEVICE = 7,      /* a device failed or is lost */
	BATON_ERR_CANCELLED = 8,   /* a callback or a signal asked to stop */
	BATON_ERR_TEMPLATE = 9,    /* a chat template raised an error or is not valid */
};

/* What went wrong, for people: one line, "what failed, on what, why, what to do". Owned by the caller. */
struct baton_error {
	enum baton_status status;
	char text[512];
};

/* "out of memory" and the like: a static string, never NULL. */
BATON_API const char *baton_status_text(enum baton_status status);

/* "0.1.0": static. */
BATON_API const char *baton_version(void);

#ifdef __cplusplus
}
#endif
#endif
