/* SPDX-License-Identifier: GPL-2.0-only */
#ifndef HOSTKERNEL_CPUFEATURE_H
#define HOSTKERNEL_CPUFEATURE_H

#define X86_FEATURE_XMM4_2 "sse4.2"
#define boot_cpu_has(feature) __builtin_cpu_supports(feature)

#endif
