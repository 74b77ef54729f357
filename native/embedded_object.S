/* SPDX-License-Identifier: Apache-2.0 */
/* Object files: the data plane's between linimo_object and linimo_object_end, the decapsulator's and the reader's of TOA likewise. */
	.section .rodata
	.balign 8
	.global linimo_object, linimo_object_end, linimo_decap_object, linimo_decap_object_end
	.hidden linimo_object, linimo_object_end, linimo_decap_object, linimo_decap_object_end
	.global linimo_toa_object, linimo_toa_object_end
	.hidden linimo_toa_object, linimo_toa_object_end
linimo_object:
	.incbin EMBEDDED_OBJECT
linimo_object_end:
	.balign 8
linimo_decap_object:
	.incbin DECAP_OBJECT
linimo_decap_object_end:
	.balign 8
linimo_toa_object:
	.incbin TOA_OBJECT
linimo_toa_object_end:
	.section .note.GNU-stack,"",%progbits
