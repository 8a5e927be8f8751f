/* A CUDA driver without a GPU, for tests: what engine/cuda.py calls, on the process's own memory.
 *
 * A stream is a queue that runs when somebody waits for it, as late as a GPU might; while a stream is
 * captured, what is put into it is recorded. Calls without a current context fail, as do double
 * frees and everything of another kind of handle. MASKRT_DRIVER_LEAKS prints at exit what was kept.
 */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

typedef int CUresult;
typedef unsigned long long CUdeviceptr;
typedef void (*HostFunction)(void*);
enum { OK = 0, INVALID_VALUE = 1, OUT_OF_MEMORY = 2, INVALID_DEVICE = 101, INVALID_CONTEXT = 201,
       NOT_FOUND = 500, CAPTURE_UNSUPPORTED = 900 };

typedef struct Operation {
    void* to;
    void const* from;
    size_t size;
    HostFunction function;  // or a copy, if it is null
    void* data;
    struct Operation* next;
} Operation;
typedef struct {
    int kind;  // 'S', 'G' (graph) or 'X' (executable graph)
    int captured;
    Operation *first, *last, *recorded, *recordedLast;
} Queue;

static int gContexts, gBlocks, gHostBlocks, gStreams, gExecutables, gContext;
static size_t gRoom = (size_t) 1 << 33, gUsed;
static __thread int tDepth;

static void report(void) {
    if (getenv("MASKRT_DRIVER_LEAKS"))
        printf("contexts %d blocks %d host %d streams %d graphs %d\n", gContexts, gBlocks,
            gHostBlocks, gStreams, gExecutables);
    fflush(stdout);
}

CUresult cuInit(unsigned flags) {
    static int told;
    char const* room = getenv("MASKRT_DRIVER_ROOM");
    if (room) gRoom = strtoull(room, NULL, 10);
    if (!told++) atexit(report);
    return flags;
}
CUresult cuDriverGetVersion(int* version) { *version = 13000; return OK; }
CUresult cuDeviceGetCount(int* count) { *count = 1; return OK; }
CUresult cuDeviceGet(int* device, int ordinal) { *device = 0; return ordinal ? INVALID_DEVICE : OK; }
CUresult cuDeviceGetName(char* name, int size, int device) {
    (void) device;
    snprintf(name, size, "Emulated GPU");
    return OK;
}
CUresult cuDeviceGetAttribute(int* value, int attribute, int device) {
    (void) device;
    *value = attribute == 75 ? 8 : attribute == 76 ? 7  // compute capability
        : attribute == 18 && getenv("MASKRT_DRIVER_INTEGRATED") != NULL;
    return OK;
}
CUresult cuDeviceComputeCapability(int* major, int* minor, int device) {
    (void) device;
    *major = 8;
    *minor = 7;
    return OK;
}
CUresult cuDevicePrimaryCtxRetain(void** context, int device) {
    (void) device;
    __atomic_add_fetch(&gContexts, 1, __ATOMIC_SEQ_CST);
    *context = &gContext;
    return OK;
}
CUresult cuDevicePrimaryCtxRelease_v2(int device) {
    (void) device;
    return __atomic_sub_fetch(&gContexts, 1, __ATOMIC_SEQ_CST) < 0 ? INVALID_CONTEXT : OK;
}
CUresult cuDevicePrimaryCtxRelease(int device) { return cuDevicePrimaryCtxRelease_v2(device); }
CUresult cuCtxPushCurrent_v2(void* context) {
    if (context != &gContext || gContexts < 1) return INVALID_CONTEXT;
    tDepth++;
    return OK;
}
CUresult cuCtxPushCurrent(void* context) { return cuCtxPushCurrent_v2(context); }
CUresult cuCtxPopCurrent_v2(void** context) {
    if (tDepth < 1) return INVALID_CONTEXT;
    tDepth--;
    if (context) *context = &gContext;
    return OK;
}
CUresult cuCtxPopCurrent(void** context) { return cuCtxPopCurrent_v2(context); }
CUresult cuCtxGetCurrent(void** context) { *context = tDepth ? &gContext : NULL; return OK; }
CUresult cuCtxSetCurrent(void* context) { tDepth = context != NULL; return OK; }
CUresult cuCtxGetDevice(int* device) { *device = 0; return tDepth ? OK : INVALID_CONTEXT; }

static CUresult allocate(void** address, size_t size, int* count) {
    if (!tDepth) return INVALID_CONTEXT;
    if (__atomic_add_fetch(&gUsed, size, __ATOMIC_SEQ_CST) > gRoom) {
        __atomic_sub_fetch(&gUsed, size, __ATOMIC_SEQ_CST);
        return OUT_OF_MEMORY;
    }
    if (posix_memalign(address, 256, size + 256)) return OUT_OF_MEMORY;
    memset(*address, 0xA5, size);
    __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
    return OK;
}
CUresult cuMemAlloc_v2(CUdeviceptr* address, size_t size) {
    return allocate((void**) address, size, &gBlocks);
}
CUresult cuMemAlloc(CUdeviceptr* address, size_t size) { return cuMemAlloc_v2(address, size); }
CUresult cuMemFree_v2(CUdeviceptr address) {
    if (!tDepth) return INVALID_CONTEXT;
    free((void*) (uintptr_t) address);
    __atomic_sub_fetch(&gBlocks, 1, __ATOMIC_SEQ_CST);
    return OK;
}
CUresult cuMemFree(CUdeviceptr address) { return cuMemFree_v2(address); }
CUresult cuMemHostAlloc(void** address, size_t size, unsigned flags) {
    (void) flags;
    return allocate(address, size, &gHostBlocks);
}
CUresult cuMemHostGetDevicePointer_v2(CUdeviceptr* device, void* host, unsigned flags) {
    *device = (CUdeviceptr) (uintptr_t) host;
    return flags ? INVALID_VALUE : OK;
}
CUresult cuMemHostGetDevicePointer(CUdeviceptr* device, void* host, unsigned flags) {
    return cuMemHostGetDevicePointer_v2(device, host, flags);
}
CUresult cuMemFreeHost(void* address) {
    if (!tDepth) return INVALID_CONTEXT;
    free(address);
    __atomic_sub_fetch(&gHostBlocks, 1, __ATOMIC_SEQ_CST);
    return OK;
}

CUresult cuStreamCreate(Queue** stream, unsigned flags) {
    if (!tDepth) return INVALID_CONTEXT;
    if (flags != 1) return INVALID_VALUE;  // a stream that waits for everybody else's work
    *stream = calloc(1, sizeof(Queue));
    (*stream)->kind = 'S';
    __atomic_add_fetch(&gStreams, 1, __ATOMIC_SEQ_CST);
    return OK;
}
CUresult cuStreamDestroy_v2(Queue* stream) {
    if (!tDepth) return INVALID_CONTEXT;
    if (!stream || stream->kind != 'S' || stream->first) return INVALID_VALUE;
    stream->kind = 0;
    free(stream);
    __atomic_sub_fetch(&gStreams, 1, __ATOMIC_SEQ_CST);
    return OK;
}
CUresult cuStreamDestroy(Queue* stream) { return cuStreamDestroy_v2(stream); }

static CUresult put(Queue* stream, Operation operation) {
    if (!tDepth) return INVALID_CONTEXT;
    if (!stream || stream->kind != 'S') return INVALID_VALUE;
    Operation* made = malloc(sizeof *made);
    *made = operation;
    made->next = NULL;
    Operation** first = stream->captured ? &stream->recorded : &stream->first;
    Operation** last = stream->captured ? &stream->recordedLast : &stream->last;
    if (*first) (*last)->next = made; else *first = made;
    *last = made;
    return OK;
}
CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, void const* from, size_t size, Queue* stream) {
    return put(stream, (Operation) {(void*) (uintptr_t) to, from, size, NULL, NULL, NULL});
}
CUresult cuMemcpyHtoDAsync(CUdeviceptr to, void const* from, size_t size, Queue* stream) {
    return cuMemcpyHtoDAsync_v2(to, from, size, stream);
}
CUresult cuMemcpyDtoHAsync_v2(void* to, CUdeviceptr from, size_t size, Queue* stream) {
    return put(stream, (Operation) {to, (void*) (uintptr_t) from, size, NULL, NULL, NULL});
}
CUresult cuMemcpyDtoHAsync(void* to, CUdeviceptr from, size_t size, Queue* stream) {
    return cuMemcpyDtoHAsync_v2(to, from, size, stream);
}
CUresult cuLaunchHostFunc(Queue* stream, HostFunction function, void* data) {
    return put(stream, (Operation) {NULL, NULL, 0, function, data, NULL});
}
CUresult cuStreamSynchronize(Queue* stream) {
    if (!tDepth) return INVALID_CONTEXT;
    if (!stream || stream->kind != 'S') return INVALID_VALUE;
    if (stream->captured) return CAPTURE_UNSUPPORTED;
    while (stream->first) {
        Operation* now = stream->first;
        if (now->function) now->function(now->data); else memcpy(now->to, now->from, now->size);
        stream->first = now->next;
        free(now);
    }
    return OK;
}

CUresult cuStreamBeginCapture_v2(Queue* stream, int mode) {
    if (!tDepth) return INVALID_CONTEXT;
    if (!stream || stream->kind != 'S' || stream->captured || mode != 1) return INVALID_VALUE;
    if (getenv("MASKRT_DRIVER_NO_GRAPHS")) return CAPTURE_UNSUPPORTED;
    stream->captured = 1;
    return OK;
}
CUresult cuStreamEndCapture(Queue* stream, Queue** graph) {
    if (!stream || stream->kind != 'S' || !stream->captured) return INVALID_VALUE;
    *graph = calloc(1, sizeof(Queue));
    (*graph)->kind = 'G';
    (*graph)->first = stream->recorded;
    stream->recorded = stream->recordedLast = NULL;
    stream->captured = 0;
    return OK;
}
CUresult cuGraphInstantiateWithFlags(Queue** made, Queue* graph, unsigned long long flags) {
    if (!graph || graph->kind != 'G' || flags) return INVALID_VALUE;
    *made = calloc(1, sizeof(Queue));
    (*made)->kind = 'X';
    Operation** at = &(*made)->first;
    for (Operation* from = graph->first; from; from = from->next) {
        *at = malloc(sizeof **at);
        **at = *from;
        at = &(*at)->next;
    }
    *at = NULL;
    __atomic_add_fetch(&gExecutables, 1, __ATOMIC_SEQ_CST);
    return OK;
}
static void forget(Queue* queue) {
    while (queue->first) {
        Operation* next = queue->first->next;
        free(queue->first);
        queue->first = next;
    }
    queue->kind = 0;
    free(queue);
}
CUresult cuGraphDestroy(Queue* graph) {
    if (!graph || graph->kind != 'G') return INVALID_VALUE;
    forget(graph);
    return OK;
}
CUresult cuGraphExecDestroy(Queue* made) {
    if (!made || made->kind != 'X') return INVALID_VALUE;
    forget(made);
    __atomic_sub_fetch(&gExecutables, 1, __ATOMIC_SEQ_CST);
    return OK;
}
CUresult cuGraphLaunch(Queue* made, Queue* stream) {
    if (!made || made->kind != 'X') return INVALID_VALUE;
    for (Operation* from = made->first; from; from = from->next) {
        CUresult code = put(stream, *from);
        if (code) return code;
    }
    return OK;
}

CUresult cuGetErrorName(CUresult code, char const** text) { (void) code; *text = "CUDA_ERROR"; return OK; }
CUresult cuGetErrorString(CUresult code, char const** text) {
    static __thread char made[32];
    snprintf(made, sizeof made, "emulated error %d", code);
    *text = made;
    return OK;
}
/* cuda-python asks for every function by its name. */
CUresult cuGetProcAddress_v2(char const* name, void** function, int version, uint64_t flags, int* status) {
    (void) version;
    (void) flags;
    *function = dlsym(RTLD_DEFAULT, name);
    if (!*function) {
        void* self = dlopen("libcuda.so.1", RTLD_LAZY | RTLD_NOLOAD);
        *function = self ? dlsym(self, name) : NULL;
    }
    if (status) *status = *function ? 0 : 1;
    return *function ? OK : NOT_FOUND;
}
CUresult cuGetProcAddress(char const* name, void** function, int version, uint64_t flags) {
    return cuGetProcAddress_v2(name, function, version, flags, NULL);
}
