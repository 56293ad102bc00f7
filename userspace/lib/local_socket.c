// SPDX-License-Identifier: GPL-2.0-only
/* See local_socket.h. */
#include "local_socket.h"

#include <errno.h>
#include <poll.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/un.h>
#include <unistd.h>

static int address_make(const char *path, struct sockaddr_un *address)
{
	*address = (struct sockaddr_un){ .sun_family = AF_UNIX };
	if (strlen(path) >= sizeof(address->sun_path))
		return -ENAMETOOLONG;
	strcpy(address->sun_path, path);
	return 0;
}

static int listen_at(int fd, const struct sockaddr_un *address, int type)
{
	mode_t mask = umask(0177);
	int ret = bind(fd, (const struct sockaddr *)address, sizeof(*address)) ? -errno : 0;

	umask(mask);
	if (!ret && type == SOCK_STREAM && listen(fd, 8))
		ret = -errno;
	return ret;
}

int local_socket_start(struct loop *loop, struct local_socket *s, const char *path, int type,
		       void (*ready)(struct loop_poll *poll, uint32_t events))
{
	struct sockaddr_un address;
	int ret = address_make(path, &address);

	*s = (struct local_socket){ .fd = -1 };
	if (ret)
		return ret;
	unlink(path);
	s->fd = socket(AF_UNIX, type | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
	if (s->fd < 0)
		return -errno;
	ret = listen_at(s->fd, &address, type);
	if (ret) {
		close(s->fd);
		s->fd = -1;
		return ret;
	}
	strcpy(s->path, path);
	loop_poll_start(loop, &s->poll, s->fd, POLLIN, ready);
	return 0;
}

void local_socket_stop(struct local_socket *s)
{
	if (!s->path[0])
		return;
	loop_poll_stop(&s->poll);
	close(s->fd);
	unlink(s->path);
	s->path[0] = '\0';
}

int local_socket_connect(const char *path, int type)
{
	const struct sockaddr_un any = { .sun_family = AF_UNIX };
	struct sockaddr_un address;
	int fd, ret = address_make(path, &address);

	if (ret)
		return ret;
	fd = socket(AF_UNIX, type | SOCK_CLOEXEC, 0);
	if (fd < 0)
		return -errno;
	/* Only the family: the kernel finds a name for us to be answered at. */
	if (type == SOCK_DGRAM && bind(fd, (const struct sockaddr *)&any, sizeof(sa_family_t)))
		ret = -errno;
	if (!ret && connect(fd, (const struct sockaddr *)&address, sizeof(address)))
		ret = -errno;
	if (ret)
		close(fd);
	return ret ? ret : fd;
}
