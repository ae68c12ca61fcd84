/* write.h: writing GGUF version 3.
 *
 * Order of use: new; copy or set keys; add every tensor's name, type and dimensions; begin (the file is created and its
 * directory written); data, in pieces of any size, tensor after tensor in the order they were added; finish. The bytes
 * go to a temporary file in the same folder, which takes the final name only in finish, after everything has reached
 * the disk: a reader never sees half a file, and the input may be the file that is replaced. close removes the
 * temporary file when finish was not reached.
 */
#ifndef BT_GGUF_WRITE_H
#define BT_GGUF_WRITE_H

#include "gguf/gguf.h"

struct bt_gguf_writer;

enum baton_status bt_gguf_writer_new(struct bt_gguf_writer **out, struct baton_error *err);
/* Frees and clears *w; removes the temporary file of an unfinished one. NULL is fine. */
void bt_gguf_writer_close(struct bt_gguf_writer **w);

/* Metadata. Keys keep the order in which they were first set; setting one again replaces its value in place. Everything
 * is copied. An error (no memory, a bad key) is sticky and reported by begin. */

/* All keys of g except the split.* ones, which say how g itself was cut into files. g may be closed afterwards. */
void bt_gguf_writer_copy_kv(struct bt_gguf_writer *w, const struct bt_gguf *g);
void bt_gguf_writer_set_u32(struct bt_gguf_writer *w, const char *key, uint32_t value);
void bt_gguf_writer_set_f32(struct bt_gguf_writer *w, const char *key, float value);
void bt_gguf_writer_set_bool(struct bt_gguf_writer *w, const char *key, bool value);
void bt_gguf_writer_set_str(struct bt_gguf_writer *w, const char *key, const char *value);
/* Any scalar type but strings: value points to one value of it in this machine's form. */
void bt_gguf_writer_set_scalar(struct bt_gguf_writer *w, const char *key, enum bt_gguf_type type, const void *value);
/* values[count] of a scalar type in this machine's form (bool: one byte each). */
void bt_gguf_writer_set_array(struct bt_gguf_writer *w, const char *key, enum bt_gguf_type elem_type,
                              const void *values, uint64_t count);
void bt_gguf_writer_set_strs(struct bt_gguf_writer *w, const char *key, const struct bt_str *values, uint64_t count);
void bt_gguf_writer_remove(struct bt_gguf_writer *w, const char *key);

/* The next tensor: dim[n_dims], fastest first; dim[0] must be a multiple of the type's block. Errors are sticky too. */
void bt_gguf_writer_add_tensor(struct bt_gguf_writer *w, struct bt_str name, const struct bt_type *type,
                               uint32_t n_dims, const uint64_t *dim);

/* Create the temporary file beside path, reserve its space (so that a full disk shows now where the file system can
 * tell) and write the directory. Data is aligned to general.alignment, or to 32 bytes when that key is not set. */
enum baton_status bt_gguf_writer_begin(struct bt_gguf_writer *w, const char *path, struct baton_error *err);
/* Bytes of the whole file; known after begin. */
uint64_t bt_gguf_writer_file_bytes(const struct bt_gguf_writer *w);
/* The next size bytes of tensor data, in the order of the tensors. Padding between tensors is the writer's business. */
enum baton_status bt_gguf_writer_data(struct bt_gguf_writer *w, const void *data, uint64_t size,
                                      struct baton_error *err);
/* Check that all data came, flush to disk, give the file its name (replacing what is there). */
enum baton_status bt_gguf_writer_finish(struct bt_gguf_writer *w, struct baton_error *err);

#endif
