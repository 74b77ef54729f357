/* SPDX-License-Identifier: Apache-2.0 */
/* The data plane's object file, between linimo_object and linimo_object_end. */
	.section .rodata
	.balign 8
	.global linimo_object, linimo_object_end
	.hidden linimo_object, linimo_object_end
linimo_object:
	.incbin EMBEDDED_OBJECT
linimo_object_end:
	.section .note.GNU-stack,"",%progbits
