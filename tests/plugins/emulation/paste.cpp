// The paste kernel on a CPU; its C function is compiled with it (plugins/paste/exported.cpp).
#include "emulate.h"

#include "../../../plugins/paste/paste.cu"
