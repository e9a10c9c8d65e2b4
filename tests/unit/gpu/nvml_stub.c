/* A libnvidia-ml.so.1 without a GPU: answers what the file named by NVML_STUB says, read again at every count.
 *
 *   init CODE            error of nvmlInit and nvmlDeviceGetCount (0: none)
 *   count N              devices
 *   D.KEY VALUE          of device D: name uuid total free used reserved v2 temp memtemp util fan power limit arch
 *                        lost (error of every question), mig (1: split), parent (this is an instance of that device)
 *   D.compute PID BYTES  a process; D.graphics likewise; BYTES -1: not known
 *   holders FOLDER       a real card in small: used and free are what the processes in this folder take now
 *
 * In that folder the file PID has a line "D BYTES" for each device that the process has memory on, and "release SECONDS":
 * the driver takes as long to clean up after its end. For the first half of that time the dead process is still listed
 * with all of its memory, in the second half the memory comes back bit by bit. It counts from when anybody first looked
 * (PID.dead has that time), so a reading right after the exit always sees the memory taken.
 *
 * What is not in the file is not supported (3), as on a device that cannot tell.
 */
#include <dirent.h>
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { DEVICES = 16, PROCESSES = 16, SUCCESS = 0, INVALID = 2, NOT_SUPPORTED = 3, NOT_FOUND = 6, TOO_SMALL = 7 };
typedef unsigned long long u64;
typedef struct { unsigned pid; u64 used; unsigned instance, compute_instance; } Process;
typedef struct { char name[96], uuid[96]; long long number[16]; Process process[2][PROCESSES]; unsigned processes[2]; } Device;
enum { TOTAL, FREE, USED, RESERVED, V2, TEMP, MEMTEMP, UTIL, FAN, POWER, LIMIT, ARCH, LOST, MIG, PARENT, KEYS };
static const char *const keys[KEYS] = {"total", "free", "used", "reserved", "v2", "temp", "memtemp", "util",
                                       "fan", "power", "limit", "arch", "lost", "mig", "parent"};
static Device devices[DEVICES];
static int init_error, count;
static char holders[512];

static void read_line(const char *line) {
    int d, k;
    char key[32], value[96];
    u64 pid;
    long long used;
    if (sscanf(line, "init %d", &init_error) == 1 || sscanf(line, "count %d", &count) == 1) return;
    if (sscanf(line, "holders %511[^\n]", holders) == 1) return;
    if (sscanf(line, "%d.%31s %95[^\n]", &d, key, value) != 3 || d < 0 || d >= DEVICES) return;
    if (!strcmp(key, "name")) strcpy(devices[d].name, value);
    if (!strcmp(key, "uuid")) strcpy(devices[d].uuid, value);
    for (k = 0; k < KEYS; k++)
        if (!strcmp(key, keys[k])) devices[d].number[k] = atoll(value);
    k = !strcmp(key, "graphics");
    if ((k || !strcmp(key, "compute")) && sscanf(value, "%llu %lld", &pid, &used) == 2) {
        Process found = {(unsigned)pid, (u64)used, 0, 0};
        devices[d].process[k][devices[d].processes[k]++] = found;
    }
}

static double now(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int is_alive(unsigned pid) {
    char path[64], text[512], *state;
    snprintf(path, sizeof path, "/proc/%u/stat", pid);
    FILE *file = fopen(path, "r");
    if (!file) return kill((pid_t)pid, 0) == 0 || errno == EPERM;
    text[fread(text, 1, sizeof text - 1, file)] = 0;
    fclose(file);
    state = strrchr(text, ')');
    return state && state[2] != 'Z' && state[2] != 'X';
}

/* Seconds since it was first seen that the process has ended; -1 while it runs. */
static double dead_for(unsigned pid) {
    char path[600];
    double since = now();
    FILE *file;
    if (is_alive(pid)) return -1;
    snprintf(path, sizeof path, "%s/%u.dead", holders, pid);
    if ((file = fopen(path, "r"))) {
        if (fscanf(file, "%lf", &since) != 1) since = now();
    } else if ((file = fopen(path, "wx"))) {
        fprintf(file, "%.6f\n", since);
    }
    if (file) fclose(file);
    return now() - since;
}

/* One process of the folder: what it still has, and whether it is still listed. */
static void read_holder(unsigned pid) {
    char path[600], line[128];
    u64 bytes[DEVICES] = {0}, taken;
    double release = 0, age, part = 1;
    int d;
    snprintf(path, sizeof path, "%s/%u", holders, pid);
    FILE *file = fopen(path, "r");
    if (!file) return;
    while (fgets(line, sizeof line, file))
        if (sscanf(line, "release %lf", &release) != 1 && sscanf(line, "%d %llu", &d, &taken) == 2 && d >= 0 && d < DEVICES)
            bytes[d] = taken;
    fclose(file);
    age = dead_for(pid);
    if (age >= release) return;
    if (age > release / 2) part = 2 - 2 * age / release;
    for (d = 0; d < DEVICES; d++) {
        Process found = {pid, bytes[d], 0, 0};
        u64 held = (u64)((double)bytes[d] * part);
        if (!bytes[d]) continue;
        devices[d].number[USED] += (long long)held;
        devices[d].number[FREE] -= (long long)held;
        if (part >= 1 && devices[d].processes[0] < PROCESSES) devices[d].process[0][devices[d].processes[0]++] = found;
    }
}

static void read_holders(void) {
    DIR *folder = opendir(holders);
    struct dirent *entry;
    unsigned pid;
    int d, used;
    for (d = 0; d < DEVICES; d++) {
        devices[d].number[USED] = 0;
        devices[d].number[FREE] = devices[d].number[TOTAL] - devices[d].number[RESERVED];
    }
    while (folder && (entry = readdir(folder)))
        if (sscanf(entry->d_name, "%u%n", &pid, &used) == 1 && !entry->d_name[used]) read_holder(pid);
    if (folder) closedir(folder);
}

static int read_file(void) {
    char line[1024];
    const char *path = getenv("NVML_STUB");
    FILE *file = path ? fopen(path, "r") : NULL;
    int d, k;
    init_error = count = 0;
    holders[0] = 0;
    memset(devices, 0, sizeof devices);
    for (d = 0; d < DEVICES; d++)
        for (k = 0; k < KEYS; k++) devices[d].number[k] = -1;
    if (!file) return 9; /* driver not loaded */
    while (fgets(line, sizeof line, file)) read_line(line);
    fclose(file);
    if (holders[0]) read_holders();
    return init_error;
}

static int number(Device *device, int key, unsigned *out) {
    if (device->number[LOST] > 0) return (int)device->number[LOST];
    if (device->number[key] < 0) return NOT_SUPPORTED;
    *out = (unsigned)device->number[key];
    return SUCCESS;
}

static int text(const char *found, char *out, unsigned size) {
    if (!*found) return NOT_SUPPORTED;
    snprintf(out, size, "%s", found);
    return SUCCESS;
}

static int processes(Device *device, int kind, unsigned *room, Process *out) {
    unsigned found = device->processes[kind];
    if (device->number[LOST] > 0) return (int)device->number[LOST];
    if (*room < found) { *room = found; return TOO_SMALL; }
    if (found) memcpy(out, device->process[kind], found * sizeof *out);
    *room = found;
    return SUCCESS;
}

int nvmlInitWithFlags(unsigned flags) { (void)flags; return read_file(); }
int nvmlShutdown(void) { return SUCCESS; }
int nvmlDeviceGetCount_v2(unsigned *out) { int error = read_file(); *out = (unsigned)count; return error; }
int nvmlSystemGetDriverVersion(char *out, unsigned size) { return text("570.00", out, size); }
int nvmlDeviceGetHandleByIndex_v2(unsigned index, Device **out) {
    *out = &devices[index];
    return devices[index].number[LOST] > 0 ? (int)devices[index].number[LOST] : SUCCESS;
}
int nvmlDeviceGetName(Device *d, char *out, unsigned size) { return text(d->name, out, size); }
int nvmlDeviceGetUUID(Device *d, char *out, unsigned size) { return text(d->uuid, out, size); }
int nvmlDeviceGetTemperature(Device *d, int sensor, unsigned *out) { return sensor ? INVALID : number(d, TEMP, out); }
int nvmlDeviceGetFanSpeed(Device *d, unsigned *out) { return number(d, FAN, out); }
int nvmlDeviceGetPowerUsage(Device *d, unsigned *out) { return number(d, POWER, out); }
int nvmlDeviceGetEnforcedPowerLimit(Device *d, unsigned *out) { return number(d, LIMIT, out); }
int nvmlDeviceGetArchitecture(Device *d, unsigned *out) { return number(d, ARCH, out); }
int nvmlDeviceGetUtilizationRates(Device *d, unsigned out[2]) { out[1] = 0; return number(d, UTIL, out); }
int nvmlDeviceGetComputeRunningProcesses_v3(Device *d, unsigned *room, Process *out) { return processes(d, 0, room, out); }
int nvmlDeviceGetGraphicsRunningProcesses_v3(Device *d, unsigned *room, Process *out) { return processes(d, 1, room, out); }
const char *nvmlErrorString(int error) { (void)error; return "an error"; }

int nvmlDeviceGetMemoryInfo_v2(Device *d, struct { unsigned version; u64 total, reserved, free, used; } *out) {
    unsigned present;
    int error = number(d, V2, &present);
    if (error) return error;
    out->total = (u64)d->number[TOTAL];
    out->reserved = (u64)d->number[RESERVED];
    out->free = (u64)d->number[FREE];
    out->used = (u64)d->number[USED];
    return SUCCESS;
}

int nvmlDeviceGetMemoryInfo(Device *d, struct { u64 total, free, used; } *out) {
    unsigned present;
    int error = number(d, TOTAL, &present);
    if (error) return error;
    out->total = (u64)d->number[TOTAL];
    out->free = (u64)d->number[FREE];
    out->used = out->total - out->free;
    return SUCCESS;
}

int nvmlDeviceGetFieldValues(Device *d, int n, struct {
    unsigned field, scope; long long at, latency; int type, error; union { double d; unsigned ui; u64 all; } value; } *out) {
    if (d->number[LOST] > 0) return (int)d->number[LOST];
    for (int i = 0; i < n; i++) out[i].error = number(d, MEMTEMP, &out[i].value.ui);
    return SUCCESS;
}

int nvmlDeviceGetMigMode(Device *d, unsigned *current, unsigned *pending) { *pending = 0; return number(d, MIG, current); }
int nvmlDeviceGetMaxMigDeviceCount(Device *d, unsigned *out) { (void)d; *out = 7; return SUCCESS; }
int nvmlDeviceGetMigDeviceHandleByIndex(Device *d, unsigned index, Device **out) {
    for (int i = 0; i < DEVICES; i++)
        if (devices[i].number[PARENT] == d - devices && index-- == 0) { *out = &devices[i]; return SUCCESS; }
    return NOT_FOUND;
}
