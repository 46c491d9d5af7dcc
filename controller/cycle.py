"""The cycle: one compiled function, without the interpreter and without the GIL, that runs every period.

    wait -> receive -> estimate -> take one command -> supervise -> plan the set-point -> control law -> guard
         -> transmit -> write one sample to the ring

What differs between arms, devices, laws and kinds of time is plugged in as first-class functions; everything else is
the same code on the real clock and in lock-step.
"""

import numpy as np
from numba.core import types

from controller.activity import CORE, Activity, is_busy, is_enabling, note, report_ended
from controller.catalogue import Code, Reaction
from controller.clock import CLOCK, FINISH, LOCKSTEP, NOW, WAIT
from controller.guard.command import check_command
from controller.guard.records import GUARD, JOINT_COMMAND, REACTIONS, arm_guard
from controller.guard.timing import check_refusal, check_stream
from controller.guard.tip import check_tip, keep_tip
from controller.inspection import inspect, inspect_line, while_enabling
from controller.laws.joint_pd import GAINS, joint_pd
from controller.laws.law import LAW, LAW_STATE, call_law, set_parameters
from controller.laws.parameters import SHARED
from controller.mailbox import CAPACITY, MAILBOX, MESSAGE, VERB, Operation, Verb
from controller.motion.advance import ADVANCE, ARRIVED, EVALUATE, PLAN, WAITING
from controller.motion.effort import add_effort, ease_law
from controller.motion.path import PATH
from controller.motion.setpoint import MOTION, follow, hold_here, is_streaming
from controller.motion.start import START
from controller.motion.trajectory import TRAJECTORY
from controller.motion.walk import WALK
from controller.orders import take_command
from controller.reactions import fail, react
from controller.states import Event
from controller.supervision import arrive, supervise
from drivers.driver import COMMAND, FEEDBACK, LINK, RECEIVE, TRANSMIT, Mode, Status
from kinematics.chain import FORWARD, FORWARD_JACOBIAN, INVERSE
from kinematics.compiled import Array, Part, array_of, kernel
from kinematics.description import ARM
from kinematics.shaft import shaft_distance
from kinematics.vectors import copy_matrix, copy_vector, times, transposed_times
from telemetry.ring import RING_HEADER, load_acquire, publish, store_release
from telemetry.sample import MAX_AXES, SAMPLE, OperatingState

__all__ = ["run"]

_ENABLED, _PAUSED = int(OperatingState.ENABLED), int(OperatingState.PAUSED)
_S0, _S2 = int(Reaction.S0), int(Reaction.S2)
_OK, _TOOL_CHANGED = int(Code.OK), int(Code.TOOL_CHANGED)
_STREAM_STALE, _STREAM_DEAD = int(Code.STREAM_STALE), int(Code.STREAM_DEAD)
_POWERING, _SIGNS, _STOPPING = int(Activity.POWERING), int(Activity.TESTING_SIGNS), int(Activity.STOPPING)
_OFF, _SET_REFERENCE, _BRAKED = int(Mode.OFF), int(Mode.SET_REFERENCE), int(Mode.BRAKED)
_POWERED = int(Status.POWERED)
_SERVO, _INTERPOLATE = int(Verb.SERVO), int(Verb.INTERPOLATE)
_DISABLE, _SET_PARAMETERS = int(Operation.DISABLE), int(Operation.SET_LAW_PARAMETERS)
_FAULTED = int(Event.FAULTED)
STOP_CYCLES_AT_END = 2000  # after being asked to end: to come to rest and to see the power go off

_F8_2D, _POSES = types.float64[:, ::1], types.float64[:, :, ::1]


@kernel(
    types.int64(
        types.FunctionType(FORWARD),
        types.FunctionType(FORWARD_JACOBIAN),
        types.FunctionType(INVERSE),
        types.FunctionType(WALK),
        types.FunctionType(START),
        types.FunctionType(PLAN),
        types.FunctionType(PLAN),
        types.FunctionType(EVALUATE),
        types.FunctionType(ADVANCE),
        types.FunctionType(LAW),
        types.FunctionType(RECEIVE),
        types.FunctionType(TRANSMIT),
        types.FunctionType(WAIT),
        types.FunctionType(NOW),
        types.FunctionType(FINISH),
        array_of(ARM),
        array_of(GAINS),
        array_of(ARM),
        array_of(LAW_STATE),
        array_of(SHARED),
        array_of(SAMPLE),
        array_of(JOINT_COMMAND),
        array_of(CLOCK),
        array_of(LOCKSTEP),
        array_of(LINK),
        array_of(RING_HEADER),
        array_of(SAMPLE),
        array_of(MAILBOX),
        array_of(MESSAGE),
        array_of(CORE),
        array_of(MOTION),
        array_of(PATH),
        array_of(TRAJECTORY),
        array_of(GUARD),
        array_of(FEEDBACK),
        array_of(COMMAND),
        array_of(JOINT_COMMAND),
        array_of(MESSAGE),
        array_of(MESSAGE),
        array_of(SAMPLE),
        _F8_2D,
        _POSES,
    )
)
def run(
    forward: Part,
    forward_jacobian: Part,
    inverse: Part,
    walk: Part,
    start: Part,
    plan: Part,
    plan_unsynchronised: Part,
    evaluate: Part,
    advance: Part,
    law: Part,
    receive: Part,
    transmit: Part,
    wait: Part,
    now: Part,
    finish: Part,
    arm: Array,
    gains: Array,
    law_arm: Array,
    law_state: Array,
    law_shared: Array,
    law_sample: Array,
    law_command: Array,
    clock: Array,
    lockstep: Array,
    link: Array,
    ring: Array,
    slots: Array,
    mailbox: Array,
    messages: Array,
    core: Array,
    motion: Array,
    path: Array,
    trajectories: Array,
    guard: Array,
    feedback: Array,
    command: Array,
    joint_command: Array,
    message: Array,
    next_message: Array,
    sample: Array,
    scratch: Array,
    poses: Array,
) -> int:
    """Run the cycle until `clock.stop` is set and the arm is at rest without power; return the cycles run.

    The first fifteen arguments are the parts, then the arm, joint PD's gains and what belongs to the law; all records
    are arrays of one element, but for `slots` (the ring's), `messages` (the mailbox's) and `trajectories` (the arm's
    and the jaw's). Nothing here allocates, raises or calls Python.
    """
    a = arm[0]
    c = core[0]
    f = feedback[0]
    s = sample[0]
    m = motion[0]
    jc = joint_command[0]
    dc = command[0]
    n = a.n_axes
    x, y, T = scratch[20], scratch[21], poses[0]

    while True:
        t_ns = wait(clock, lockstep, link, ring)
        if t_ns < 0:
            return int(clock[0].tick)
        t_begin = now(clock)

        fresh = receive(link, feedback)
        t_received = now(clock)

        # --- estimate
        c.age = 0 if fresh > 0 else c.age + 1
        if c.age > 0 and clock[0].tick > 1 and not c.silent:
            s.frames_lost += 1
        code = inspect_line(core, guard, link, feedback, clock[0].skipped)
        s.sequence = clock[0].tick
        s.t_ns = t_ns
        s.t_device_ns = f.t_device_ns
        s.feedback_age = c.age
        s.device_status = f.status
        s.deadline_ns = clock[0].deadline_ns
        s.wakeup_ns = t_ns - clock[0].deadline_ns
        s.overruns = clock[0].overruns
        s.frames_bad = link[0].frames_bad
        s.event = 0
        s.command_id = 0
        s.command_sent_ns = 0
        s.verdict = 0
        s.finished_id = 0
        s.finished_status = 0
        s.tool = f.tool
        times(a.joint_from_actuator, f.position, s.measured_position, n)
        times(a.joint_from_actuator, f.velocity, s.measured_velocity, n)
        transposed_times(a.actuator_from_joint, f.effort, s.measured_effort, n)
        times(a.joint_from_actuator, f.absolute, s.absolute_position, n)
        copy_vector(f.position, s.actuator_position)
        copy_vector(f.temperature, s.temperature)
        copy_vector(s.measured_position, x)
        forward(arm, x, T)
        copy_matrix(T, s.measured_pose)
        s.remote_center_distance = shaft_distance(T, a.shaft[:], a.remote_center[:]) if a.through else 0.0

        # --- what is wrong with what came in
        code = inspect(core, guard, motion, sample, feedback, code)
        if code != _OK:
            if REACTIONS[code] >= _S2:
                react(core, motion, arm, sample, code)
            else:
                s.event = code
            if code == _TOOL_CHANGED:
                c.is_homed = 0

        # --- one command
        tail = np.int64(mailbox[0].tail)
        if np.int64(load_acquire(mailbox, "head")) != tail:
            message[0] = messages[tail % CAPACITY]
            store_release(mailbox, "tail", tail + 1)
            s.command_id = message[0].id
            s.command_sent_ns = message[0].sent_ns
            if message[0].operation == _SET_PARAMETERS:
                s.verdict = set_parameters(law_shared, message[0].parameters[:])
            else:
                s.verdict = take_command(
                    core,
                    motion,
                    path,
                    arm,
                    forward,
                    inverse,
                    walk,
                    start,
                    sample,
                    feedback,
                    message,
                    next_message,
                    c.lost,
                    scratch,
                    poses,
                    guard,
                )
            verb = VERB[message[0].operation] if 0 <= message[0].operation < len(VERB) else 0
            code = check_refusal(guard, int(verb == _SERVO or verb == _INTERPOLATE), s.verdict)
            if code != _OK:
                note(core, -1, 0.0, 0.0)
                react(core, motion, arm, sample, code)

        # --- what the arm is busy with
        code = supervise(
            core,
            motion,
            path,
            arm,
            forward,
            inverse,
            walk,
            start,
            guard,
            sample,
            feedback,
            message,
            next_message,
            scratch,
            poses,
        )
        if code != _OK:
            fail(core, motion, arm, sample, code)

        # --- the set-point
        s.stream_age_ns = 0
        for group in range(2):
            if m.stream_ns[group] > 0:
                age_ns = t_ns - m.stream_ns[group]
                if is_streaming(motion, group):
                    s.stream_age_ns = max(s.stream_age_ns, age_ns)
                    if check_stream(age_ns, m.stream_timeout_ns[group], c.stream_dead_ns) != _OK:
                        note(core, -1, age_ns * 1e-9, m.stream_timeout_ns[group] * 1e-9)
                        c.stale_ns = m.stream_ns[group]
                        react(core, motion, arm, sample, _STREAM_STALE)
                elif group == 0:
                    s.stream_age_ns = age_ns
        if c.state == _PAUSED and c.fault == _STREAM_STALE and t_ns - c.stale_ns > c.stream_dead_ns:
            note(core, -1, (t_ns - c.stale_ns) * 1e-9, c.stream_dead_ns * 1e-9)
            react(core, motion, arm, sample, _STREAM_DEAD)
        powered = c.state == _ENABLED or c.state == _PAUSED
        if c.free or not (powered or c.activity == _POWERING or c.activity == _SIGNS):
            follow(motion, s.measured_position)
            if powered:
                hold_here(motion, arm, 0)
                hold_here(motion, arm, 1)
            arm_guard(guard, m.q)
        else:
            for group in range(2):
                code = advance(
                    motion,
                    path,
                    trajectories,
                    arm,
                    plan,
                    plan_unsynchronised,
                    evaluate,
                    forward_jacobian,
                    inverse,
                    sample,
                    group,
                    scratch,
                    poses,
                )
                if code == WAITING:
                    code = start(motion, path, arm, forward, inverse, walk, next_message, message, t_ns, scratch, poses)
                elif code == ARRIVED:
                    arrive(core, group)
                    code = _OK
                if code != _OK:
                    fail(core, motion, arm, sample, code)

        # --- control law
        copy_vector(m.q, s.setpoint_position)
        copy_vector(m.qd, s.setpoint_velocity)
        copy_vector(m.goal, s.goal_position)
        copy_vector(m.goal_velocity, s.goal_velocity)
        copy_vector(m.q, jc.position)
        copy_vector(m.qd, jc.velocity)
        ease_law(motion, arm, joint_command, c.free)
        copy_vector(m.q, x)
        forward(arm, x, T)
        copy_matrix(T, s.setpoint_pose)
        joint_pd(arm, gains, sample, joint_command)
        # The law has its say where the joints know where they are, and until a fault: joint PD stops the arm.
        stopping = c.activity == _STOPPING and c.stop_event == _FAULTED
        if law_state[0].enabled and c.is_homed and not stopping and (c.state == _ENABLED or c.state == _PAUSED):
            code = call_law(law, law_arm, law_state, law_shared, sample, joint_command, law_sample, law_command)
            if code != _OK:
                react(core, motion, arm, sample, code)
        else:
            law_state[0].active = 0
        for i in range(MAX_AXES):
            jc.effort[i] *= c.compensation
        add_effort(motion, arm, sample, joint_command, c.free)

        if is_enabling(core):
            transposed_times(a.actuator_from_joint, c.test_effort, x, n)
            for i in range(n):
                jc.effort[i] += x[i]
                if c.mode == _BRAKED:
                    jc.velocity[i], jc.kp[i], jc.kd[i] = 0.0, 0.0, 0.0

        # --- guard: the last thing before the wire
        if c.mode != _OFF:
            copy_vector(jc.position, x)
            forward(arm, x, T)
            wall = _OK
            if c.is_homed:
                for i in range(3):
                    y[i], x[i] = T[i, 3], s.measured_pose[i, 3]
                wall = check_tip(guard, y, x)
                if wall != _OK and not (is_streaming(motion, 0) and guard[0].scale < 1.0):
                    note(core, -1, guard[0].value, guard[0].bound)
                    react(core, motion, arm, sample, wall)
                if guard[0].scale < 1.0:
                    # Slower, on the same line: the tip must be able to stop before the wall.
                    s.event = wall
                    for i in range(n):
                        last = guard[0].last_position[i]
                        jc.position[i] = last + guard[0].scale * (jc.position[i] - last)
                        jc.velocity[i] *= guard[0].scale
                        m.q[i], m.qd[i], m.qdd[i] = jc.position[i], jc.velocity[i], 0.0
            code = check_command(guard, joint_command, s.measured_position, c.referenced)
            code = while_enabling(core, code)
            if code != _OK:
                note(core, guard[0].axis, guard[0].value, guard[0].bound)
                react(core, motion, arm, sample, code)
            replaced = False
            for i in range(n):
                if jc.position[i] != m.q[i]:  # a NaN differs too
                    replaced = True
            if replaced and code != _OK and REACTIONS[code] < _S0:
                # The generator goes on from what is sent, at rest.
                copy_vector(jc.position, m.q)
                hold_here(motion, arm, 0)
                hold_here(motion, arm, 1)
            if code != _OK or wall != _OK:
                copy_vector(jc.position, x)
                forward(arm, x, T)
                for i in range(3):
                    y[i] = T[i, 3]
                keep_tip(guard, y)
                copy_vector(m.q, s.setpoint_position)
                copy_vector(m.qd, s.setpoint_velocity)
                copy_vector(m.q, x)
                forward(arm, x, T)
                copy_matrix(T, s.setpoint_pose)

        # --- transmit
        c.sequence += 1 if not c.silent else 0
        dc.sequence = c.sequence
        dc.mode = c.mode
        dc.clear_fault = c.clear_fault
        if c.mode == _OFF:
            for i in range(MAX_AXES):
                dc.position[i] = f.position[i]
                dc.velocity[i] = 0.0
                dc.effort[i] = 0.0
                dc.kp[i] = 0.0
                dc.kd[i] = 0.0
        else:
            copy_vector(jc.position, x)
            times(a.actuator_from_joint, x, y, n)
            copy_vector(y, dc.position)
            copy_vector(jc.velocity, x)
            times(a.actuator_from_joint, x, y, n)
            copy_vector(y, dc.velocity)
            copy_vector(jc.effort, x)
            transposed_times(a.joint_from_actuator, x, y, n)
            copy_vector(y, dc.effort)
            copy_vector(jc.kp, dc.kp)
            copy_vector(jc.kd, dc.kd)
            if c.mode == _SET_REFERENCE:
                copy_vector(c.reference, dc.position)
                for i in range(MAX_AXES):
                    dc.velocity[i] = 0.0
        t_planned = now(clock)
        if not c.silent:
            transmit(link, command)
        t_sent = now(clock)

        # --- one sample
        report_ended(core, sample)
        copy_vector(jc.effort, s.setpoint_effort)
        copy_vector(dc.effort, s.actuator_effort)
        s.state = c.state
        s.is_homed = c.is_homed
        s.is_busy = is_busy(core)
        s.mode = m.mode[0]
        s.fault = c.fault
        s.fault_axis = c.fault_axis if c.fault != 0 else c.axis
        s.fault_value = c.fault_value if c.fault != 0 else c.value
        s.fault_bound = c.fault_bound if c.fault != 0 else c.bound
        s.enable_step = c.step
        s.motion_id = c.activity_id
        s.jaw_motion_id = c.jaw_id
        s.speed_ratio = m.speed_ratio
        copy_vector(m.goal, x)
        forward(arm, x, T)
        copy_matrix(T, s.goal_pose)
        s.io_ns = (t_received - t_begin) + (t_sent - t_planned)
        s.compute_ns = now(clock) - t_begin - s.io_ns
        slots[np.int64(ring[0].head) & (len(slots) - 1)] = sample[0]
        publish(ring)
        finish(clock, lockstep, link, sample)

        # --- the end
        if clock[0].stop:
            if c.stop_cycles_at_end == 0 and powered and c.activity != _STOPPING:
                message[0].operation = _DISABLE
                message[0].id = 0
                take_command(
                    core,
                    motion,
                    path,
                    arm,
                    forward,
                    inverse,
                    walk,
                    start,
                    sample,
                    feedback,
                    message,
                    next_message,
                    _OK,
                    scratch,
                    poses,
                    guard,
                )
            c.stop_cycles_at_end += 1
            off = not (f.status & _POWERED) and c.mode == _OFF
            if off or c.stop_cycles_at_end > STOP_CYCLES_AT_END:
                return int(clock[0].tick)
