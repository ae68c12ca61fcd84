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

/* ---- Sampling: how the next token is chosen from the logits. Names, order and defaults are llama.cpp's. ---- */

struct baton_logit_bias {
	int32_t token;
	float bias; /* added to the token's logit; -INFINITY forbids the token */
};

struct baton_sampler_params {
	uint64_t seed; /* the n-th token after the same tokens is the same for the same seed */

	/* Penalties on tokens among the last penalty_last_n (-1: the whole context, 0: off). */
	int32_t penalty_last_n;  /* 64 */
	float penalty_repeat;    /* 1: off; positive logits are divided by it, negative ones multiplied */
	float penalty_frequency; /* 0: off; subtracted once for each time the token occurred */
	float penalty_presence;  /* 0: off; subtracted once when the token occurred */

	/* DRY: multiplier * base ^ (length - allowed_length) is subtracted from the logit of the token that would continue a
	 * sequence of `length` tokens that has occurred before. */
	float dry_multiplier;            /* 0: off */
	float dry_base;                  /* 1.75 */
	int32_t dry_allowed_length;      /* 2 */
	int32_t dry_penalty_last_n;      /* -1: the whole context, 0: off */
	const char *const *dry_breakers; /* texts that end a sequence; NULL: newline, colon, quote, asterisk */
	size_t n_dry_breakers;

	/* Cutting the tail off, in this order. */
	float top_n_sigma;     /* <= 0: off; keep logits within so many standard deviations of the largest */
	int32_t top_k;         /* 40; 0: off */
	float typical_p;       /* 1: off */
	float top_p;           /* 0.95; 1: off */
	float min_p;           /* 0.05; 0: off */
	float xtc_probability; /* 0: off */
	float xtc_threshold;   /* 0.1; above 0.5: off */

	float temp;              /* 0.8; 0: always the likeliest token */
	float dynatemp_range;    /* 0: off; the temperature moves within temp +- range with the entropy */
	float dynatemp_exponent; /* 1 */

	const struct baton_logit_bias *logit_bias; /* [n_logit_bias] */
	size_t n_logit_bias;
};

/* The defaults above, seed 0. */
BATON_API void baton_sampler_params_init(struct baton_sampler_params *params);

#ifdef __cplusplus
}
#endif
#endif
