// SPDX-License-Identifier: GPL-2.0-only
/* See nbddev.h; libnl-genl does the protocol. */
#include "nbddev.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/nbd.h>
#include <linux/nbd-netlink.h>
#include <netlink/genl/ctrl.h>
#include <netlink/genl/family.h>
#include <netlink/genl/genl.h>
#include <netlink/netlink.h>
#include <spawn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "nbd_handshake.h"

#define BLOCK_BYTES	512	/* what filesystems of any disk can live with */
/*
 * Of a server that ended the kernel hears at once; this is for one that lives and does
 * not answer. Longer than the longest a server waits itself, 60 s for a Ceph cluster.
 */
#define TIMEOUT_S	90
#define MAX_CONNECTIONS	4	/* as many threads read a point at most */

static const struct sysblock_kind nbds = { "nbd", "backend" };

/* -- the kernel -- */

struct call {
	int family;
	int error;	/* 1: not answered yet */
	int index;
};

static int on_error(struct sockaddr_nl *from, struct nlmsgerr *err, void *arg)
{
	((struct call *)arg)->error = err->error;
	return NL_STOP;
}

static int on_ack(struct nl_msg *msg, void *arg)
{
	((struct call *)arg)->error = 0;
	return NL_STOP;
}

static int on_message(struct nl_msg *msg, void *arg)
{
	struct nlattr *attrs[NBD_ATTR_MAX + 1];
	struct call *call = arg;

	if (nlmsg_hdr(msg)->nlmsg_type == call->family &&
	    genlmsg_parse(nlmsg_hdr(msg), 0, attrs, NBD_ATTR_MAX, NULL) == 0 &&
	    attrs[NBD_ATTR_INDEX])
		call->index = nla_get_u32(attrs[NBD_ATTR_INDEX]);
	return NL_OK;
}

static int kernel_connect(struct nl_sock **out)
{
	struct nl_sock *sock = nl_socket_alloc();
	int family;

	if (!sock)
		return -ENOMEM;
	family = genl_connect(sock) < 0 ? -1 : genl_ctrl_resolve(sock, NBD_GENL_FAMILY_NAME);
	if (family >= 0) {
		*out = sock;
		return family;
	}
	nl_socket_free(sock);
	return -ENOENT;
}

/* Send @msg, which is consumed, and take its answer. Return: as the kernel's; -EIO. */
static int kernel_call(struct nl_sock *sock, struct call *call, struct nl_msg *msg)
{
	struct nl_cb *cb = nl_cb_alloc(NL_CB_DEFAULT);

	call->error = cb ? 1 : -ENOMEM;
	if (cb) {
		nl_cb_err(cb, NL_CB_CUSTOM, on_error, call);
		nl_cb_set(cb, NL_CB_ACK, NL_CB_CUSTOM, on_ack, call);
		nl_cb_set(cb, NL_CB_VALID, NL_CB_CUSTOM, on_message, call);
		if (nl_send_auto(sock, msg) < 0)
			call->error = -EIO;
	}
	while (call->error > 0)
		if (nl_recvmsgs(sock, cb) < 0 && call->error > 0)
			call->error = -EIO;
	nl_cb_put(cb);
	nlmsg_free(msg);
	return call->error;
}

static struct nl_msg *message(int family, int command)
{
	struct nl_msg *msg = nlmsg_alloc();

	if (msg && !genlmsg_put(msg, NL_AUTO_PORT, NL_AUTO_SEQ, family, 0, 0, command,
				NBD_GENL_VERSION)) {
		nlmsg_free(msg);
		msg = NULL;
	}
	return msg;
}

/* One message to the kernel, and its answer. */
struct request {
	struct nl_sock *sock;
	struct call call;
	struct nl_msg *msg;
};

/* Return: 0, then request_end() is due; -errno. */
static int request_begin(struct request *r, int command)
{
	int ret = kernel_connect(&r->sock);

	if (ret < 0)
		return ret;
	r->call = (struct call){ .family = ret, .index = -1 };
	r->msg = message(r->call.family, command);
	if (r->msg)
		return 0;
	nl_socket_free(r->sock);
	return -ENOMEM;
}

/* @whole: all that belongs in it had room; else it is not sent. */
static int request_end(struct request *r, bool whole)
{
	int ret = -ENOMEM;

	if (whole)
		ret = kernel_call(r->sock, &r->call, r->msg);
	else
		nlmsg_free(r->msg);
	nl_socket_free(r->sock);
	return ret;
}

static int disconnect_index(int index)
{
	struct request r;
	int ret = request_begin(&r, NBD_CMD_DISCONNECT);

	return ret < 0 ? ret : request_end(&r, nla_put_u32(r.msg, NBD_ATTR_INDEX, index) == 0);
}

static int disconnect(void *arg, const char *device)
{
	return disconnect_index(atoi(device + strlen("/dev/nbd")));
}

/* -- whether it can -- */

/* Not all kernels load it when they are asked for the family. */
static void load_module(void)
{
	char *const argv[] = { "modprobe", "-q", "nbd", NULL };
	posix_spawn_file_actions_t quiet;
	pid_t pid;

	if (posix_spawn_file_actions_init(&quiet) != 0)
		return;
	if (posix_spawn_file_actions_addopen(&quiet, STDERR_FILENO, "/dev/null", O_WRONLY, 0) == 0 &&
	    posix_spawn(&pid, "/sbin/modprobe", &quiet, NULL, argv, environ) == 0)
		waitpid(pid, NULL, 0);
	posix_spawn_file_actions_destroy(&quiet);
}

/* Kernels before 5.14 forget the name, and devices without one could not be found again. */
static bool keeps_names(struct nl_sock *sock)
{
	struct nl_cache *cache;
	struct genl_family *family;
	bool keeps;

	if (genl_ctrl_alloc_cache(sock, &cache) < 0)
		return false;
	family = genl_ctrl_search_by_name(cache, NBD_GENL_FAMILY_NAME);
	keeps = family && genl_family_get_maxattr(family) >= NBD_ATTR_BACKEND_IDENTIFIER;
	if (family)
		genl_family_put(family);
	nl_cache_free(cache);
	return keeps;
}

/* Root of a user namespace is told so here, before anything was made. No device is -1. */
static int permitted(void)
{
	return disconnect_index(-1) == -EPERM ? -EPERM : 0;
}

int nbddev_usable(char *why)
{
	struct nl_sock *sock;
	const char *text = NULL;

	if (geteuid() != 0) {
		snprintf(why, NBDDEV_TEXT_BYTES, "only root may use the kernel's NBD client");
		return -EPERM;
	}
	if (kernel_connect(&sock) < 0) {
		load_module();
		if (kernel_connect(&sock) < 0) {
			snprintf(why, NBDDEV_TEXT_BYTES, "this kernel has no NBD client: the module nbd is not loaded and cannot be");
			return -ENOENT;
		}
	}
	if (!keeps_names(sock))
		text = "the NBD client of this kernel is older than Linux 5.14 and cannot name its devices";
	else if (access("/dev/nbd0", F_OK) < 0)
		text = "the kernel has an NBD client, but there is no /dev/nbd0";
	else if (permitted() < 0)
		text = "the kernel lets only root of the whole machine use its NBD client";
	nl_socket_free(sock);
	if (text)
		snprintf(why, NBDDEV_TEXT_BYTES, "%s", text);
	return text ? -EOPNOTSUPP : 0;
}

/* -- attaching -- */

struct export {
	int sockets[MAX_CONNECTIONS];
	size_t nr_sockets;
	struct nbd_export is;
};

static void export_close(struct export *e)
{
	while (e->nr_sockets)
		close(e->sockets[--e->nr_sockets]);
}

/*
 * One for what can be written: a write that is not answered in time the kernel sends again
 * by another connection, and the first one may still be done later, over what was written
 * there and acknowledged meanwhile. With one connection there is no other.
 */
static size_t wanted_sockets(const struct export *e)
{
	const uint16_t both = NBD_FLAG_READ_ONLY | NBD_FLAG_CAN_MULTI_CONN;
	long processors = sysconf(_SC_NPROCESSORS_ONLN);

	if ((e->is.flags & both) != both || processors < 1)
		return 1;
	return processors < MAX_CONNECTIONS ? processors : MAX_CONNECTIONS;
}

static int export_open(struct export *e, const char *socket, const char *name)
{
	size_t nr = 1;
	int ret = 0;

	for (e->nr_sockets = 0; ret == 0 && e->nr_sockets < nr;) {
		ret = nbd_handshake(socket, name, &e->sockets[e->nr_sockets], &e->is);
		if (ret == 0) {
			e->nr_sockets++;
			nr = wanted_sockets(e);
		}
	}
	if (ret < 0)
		export_close(e);
	return ret;
}

static int put_sockets(struct nl_msg *msg, struct export *e)
{
	struct nlattr *all = nla_nest_start(msg, NBD_ATTR_SOCKETS), *one;

	for (size_t i = 0; all && i < e->nr_sockets; i++) {
		one = nla_nest_start(msg, NBD_SOCK_ITEM);
		if (!one || nla_put_u32(msg, NBD_SOCK_FD, e->sockets[i]) < 0)
			return -ENOMEM;
		nla_nest_end(msg, one);
	}
	if (!all)
		return -ENOMEM;
	nla_nest_end(msg, all);
	return 0;
}

/* No index is asked for: the kernel takes a device that is free, or makes one. */
static int kernel_attach(struct export *e, const char *name, char *device)
{
	struct request r;
	int ret = request_begin(&r, NBD_CMD_CONNECT);

	if (ret < 0)
		return ret;
	ret = request_end(&r, nla_put_u64(r.msg, NBD_ATTR_SIZE_BYTES, e->is.size_bytes) == 0 &&
			  nla_put_u64(r.msg, NBD_ATTR_BLOCK_SIZE_BYTES, BLOCK_BYTES) == 0 &&
			  nla_put_u64(r.msg, NBD_ATTR_TIMEOUT, TIMEOUT_S) == 0 &&
			  nla_put_u64(r.msg, NBD_ATTR_SERVER_FLAGS, e->is.flags) == 0 &&
			  nla_put_string(r.msg, NBD_ATTR_BACKEND_IDENTIFIER, name) == 0 &&
			  put_sockets(r.msg, e) == 0);
	if (ret == 0 && r.call.index < 0)
		ret = -EPROTO;
	if (ret == 0)
		snprintf(device, SYSBLOCK_BYTES, "/dev/nbd%d", r.call.index);
	return ret;
}

int nbddev_attach(const char *socket, const char *export, const char *name, char *device,
		  char *why)
{
	struct export e;
	int fd, ret = export_open(&e, socket, export);

	if (ret < 0) {
		snprintf(why, NBDDEV_TEXT_BYTES, "its server does not serve it: %s", strerror(-ret));
		return ret;
	}
	ret = kernel_attach(&e, name, device);
	export_close(&e);	/* the kernel has the sockets for itself */
	if (ret < 0) {
		snprintf(why, NBDDEV_TEXT_BYTES, "the kernel's NBD client: %s", strerror(-ret));
		return ret;
	}
	/* Who opens it first makes the kernel look for partitions. */
	fd = open(device, O_RDONLY | O_CLOEXEC);
	if (fd < 0) {
		ret = -errno;
		snprintf(why, NBDDEV_TEXT_BYTES, "%s: %s", device, strerror(-ret));
		if (sysblock_is(&nbds, device, name) > 0)
			disconnect(NULL, device);
		return ret;
	}
	close(fd);
	return 0;
}

/* -- finding, detaching -- */

int nbddev_each(const char *name, int (*each)(void *arg, const char *device), void *arg)
{
	return sysblock_each(&nbds, name, each, arg);
}

int nbddev_cut(const char *name)
{
	return nbddev_each(name, disconnect, NULL);
}

struct detaching {
	const char *name;
	bool flush;
};

static int flush(void *arg, const char *device)
{
	int fd = open(device, O_RDONLY | O_CLOEXEC), ret;

	/* Nobody keeps the nodes of a container's /dev: without one nobody can have written to it. */
	if (fd < 0)
		return errno == ENOENT || errno == ENXIO ? 0 : -errno;
	ret = fsync(fd) < 0 ? -errno : 0;
	close(fd);
	return ret;
}

/*
 * While it is open it stays what it is; while it is so exclusively, nobody mounts it. The
 * last to close a device writes out what is dirty, but that may be another one, later.
 */
static int detach(void *arg, const char *device)
{
	const struct detaching *detaching = arg;
	int fd = open(device, O_RDONLY | O_EXCL | O_CLOEXEC), ret = 0;

	if (fd < 0 && errno != ENOENT)
		return errno == ENXIO ? 0 : -errno;
	ret = sysblock_is(&nbds, device, detaching->name);
	/* Without a node nobody can have written to it, nor open it now. */
	if (fd < 0)
		return ret > 0 ? disconnect(NULL, device) : ret;
	if (ret > 0) {
		ret = 0;
		/* What was written to a partition the kernel keeps for that, not for the disk. */
		if (detaching->flush)
			ret = sysblock_each_partition(device, flush, NULL);
		if (ret == 0 && detaching->flush && fsync(fd) < 0)
			ret = -errno;
		if (ret == 0)
			ret = disconnect(NULL, device);
	}
	close(fd);
	return ret;
}

int nbddev_detach_all(const char *name, bool flush)
{
	struct detaching detaching = { name, flush };
	int ret = nbddev_each(name, detach, &detaching);

	return ret ? ret : sysblock_wait_gone(&nbds, name);
}
