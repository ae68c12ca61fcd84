/* limits.h: every limit on what a file, a template or a request may ask for, in one place.
 *
 * They bound time and memory against hostile input; each is far above what a sound model needs.
 */
#ifndef BT_BASE_LIMITS_H
#define BT_BASE_LIMITS_H

#include <stddef.h>

/* GGUF */
#define BT_LIMIT_GGUF_KEYS      65536 /* metadata keys in one file */
#define BT_LIMIT_GGUF_TENSORS   65536 /* tensors in one file; the largest published models have some 3,000 */
#define BT_LIMIT_GGUF_KEY_NAME  65535 /* bytes of a key: what the specification allows */
#define BT_LIMIT_GGUF_NAME      255   /* bytes of a tensor's name; the specification allows 64 */
#define BT_LIMIT_GGUF_SPLITS    1024  /* files of a split model */
#define BT_LIMIT_GGUF_DIRECTORY ((size_t)1 << 30) /* bytes of keys and descriptions that are written */

/* Models */
#define BT_LIMIT_LAYERS    1024
#define BT_LIMIT_EXPERTS   4096
#define BT_LIMIT_WIDTH     (1u << 20) /* embedding, feed-forward or head widths */
#define BT_LIMIT_CONV_TAPS 16
#define BT_LIMIT_HEAD      4096 /* values in a head of a recurrent block, and rows of its state */
#define BT_LIMIT_VOCAB     (1u << 22)
#define BT_LIMIT_CONTEXT   (1u << 26) /* tokens in one sequence */
#define BT_LIMIT_BATCH     65536      /* tokens in one call of eval */
#define BT_LIMIT_SEQS      4096       /* sequences in a session */
#define BT_LIMIT_THREADS   512

/* Text */
#define BT_LIMIT_TEXT          ((size_t)1 << 30)   /* bytes of one text to tokenize */
#define BT_LIMIT_TOKEN_BYTES   65536               /* bytes of one vocabulary entry */
#define BT_LIMIT_SPECIAL_TOKEN 512                 /* bytes of a token that is looked for at every place of a text */
#define BT_LIMIT_MERGES        (1u << 24)          /* merges of a vocabulary */
#define BT_LIMIT_LINE          ((size_t)256 << 20) /* bytes of one line of JSON input */

/* Chat templates: they come from untrusted files */
#define BT_LIMIT_TEMPLATE_SOURCE ((size_t)4 << 20)
#define BT_LIMIT_TEMPLATE_OUTPUT ((size_t)64 << 20)
#define BT_LIMIT_TEMPLATE_MEMORY ((size_t)512 << 20)
#define BT_LIMIT_TEMPLATE_STEPS  50000000u /* interpreter steps of one rendering */
#define BT_LIMIT_TEMPLATE_DEPTH  200       /* nesting of the source, and of macro calls */
#define BT_LIMIT_TEMPLATE_STACK  4000      /* nested calls of the interpreter's own functions: some 2 MiB of stack */
#define BT_LIMIT_TEMPLATE_RANGE  100000    /* elements of one range(), as jinja2's sandbox has it */

#endif
