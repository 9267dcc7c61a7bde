"""Motion of synthetic people: they walk between random places, wait, turn, leave the image and come back (NumPy only).

The ground is a plane in metres: x to the right of the image, z away from the camera. People do not avoid one another.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from ehrpose.datasets.synthetic.pose import Pose

# Rates at which people reach their target speed and turn, 1/s: both are critically damped springs.
_SPEED_RATE, _TURN_RATE = 5.0, 5.0
# Speed from which arms and legs swing fully, m/s.
_FULL_SWING = 1.1


@dataclass
class Ground:
    """The part of the ground that the camera sees.

    Attributes:
        near: Distance of the nearest place where people walk, m.
        far: Distance of the farthest one, m.
        slope: Half the visible width at distance z is ``slope * z``.
    """

    near: float
    far: float
    slope: float


@dataclass
class Walk:
    """Path and gait of one person over T frames.

    Attributes:
        places: (T, 2) x and z, m.
        speeds: (T,) m/s.
        yaws: (T,) facing direction as in ``Pose``, degrees.
        phases: (T,) step phase, radians, increasing; 2 pi is one step of each leg.
        swing: (2,) amplitude of legs and arms, degrees.
        arms: (2, 4) mean angles of the arms, as in ``Pose``.
        gestures: (2, 4) amplitude, degrees, frequency, Hz, phase and elbow amplitude of each arm while standing.
        lean: Forward lean, degrees.
        fps: Frames per second.
    """

    places: np.ndarray
    speeds: np.ndarray
    yaws: np.ndarray
    phases: np.ndarray
    swing: np.ndarray
    arms: np.ndarray
    gestures: np.ndarray
    lean: float
    fps: float

    def pose(self, frame: int) -> Pose:
        """Return the pose in a frame."""
        phase, walking = float(self.phases[frame]), min(1.0, float(self.speeds[frame]) / _FULL_SWING)
        walking *= walking * (3 - 2 * walking)  # smooth at both ends
        seconds = frame / self.fps
        legs, arms = np.zeros((2, 3)), self.arms.copy()
        for side, turn in enumerate((0.0, np.pi)):
            # The knee bends while its leg comes forward.
            forward = 0.5 + 0.5 * np.cos(phase + turn)
            legs[side, 0] = 3 + walking * (3 + self.swing[0] * np.sin(phase + turn))
            legs[side, 1] = 3.0
            legs[side, 2] = 4 + walking * (6 + 42 * forward**2)
            reach, frequency, start, bend = self.gestures[side]
            wave = (1 - walking) * (0.5 + 0.5 * np.sin(2 * np.pi * frequency * seconds + start))
            arms[side, 0] += wave * reach - walking * self.swing[1] * np.sin(phase + turn)
            arms[side, 3] += wave * bend + 8 * walking * (1 - forward)
        sway = (1 - walking) * np.sin(1.1 * seconds + self.gestures[0, 2])
        chest = (1.5 * sway, 6 * walking * np.sin(phase))
        head = (12 * np.sin(0.7 * seconds + self.gestures[1, 2]), 4.0, 2 * sway)
        return Pose("walk", legs, arms, self.lean, 1.5 * sway, float(self.yaws[frame]), chest, head)


def sample_walk(rng: np.random.Generator, ground: Ground, num_frames: int, fps: float) -> Walk:
    """Sample the path and gait of one person.

    Args:
        rng: Source of randomness.
        ground: Ground that people walk on; they also leave it to the left and right.
        num_frames: Number of frames T.
        fps: Frames per second.
    """
    arms = np.array([[0.0, 7.0, 12.0, rng.uniform(10, 35)]] * 2)
    gestures = np.stack(
        [rng.uniform(0, 60, 2), rng.uniform(0.15, 0.45, 2), rng.uniform(0, 6.3, 2), rng.uniform(0, 70, 2)], 1
    )
    swing = np.array([rng.uniform(20, 28), rng.uniform(14, 30)])
    lean, speed, stride = rng.normal(3, 2), rng.uniform(0.7, 1.7), rng.uniform(1.25, 1.6)
    phase = rng.uniform(0, 2 * np.pi)
    places, speeds, yaws = _simulate(rng, ground, num_frames, fps, speed)
    phases = phase + 2 * np.pi / stride * np.cumsum(speeds) / fps
    return Walk(places, speeds, yaws, phases, swing, arms, gestures, float(lean), fps)


def _simulate(
    rng: np.random.Generator, ground: Ground, num_frames: int, fps: float, speed: float
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return places (T, 2), speeds (T,) and yaws (T,) of a person who walks from place to place."""
    step = 1.0 / fps
    place, target = _sample_place(rng, ground, None), _sample_place(rng, ground, None)
    velocity = _towards(target, place) * speed
    push = np.zeros(2)
    yaw, turn, wait, gaze = _yaw(velocity), 0.0, 0.0, 0.0
    places, speeds, yaws = np.zeros((num_frames, 2)), np.zeros(num_frames), np.zeros(num_frames)
    for frame in range(num_frames):
        places[frame], speeds[frame], yaws[frame] = place, np.linalg.norm(velocity), yaw
        wanted = np.zeros(2)
        if wait > 0:
            wait -= step
        else:
            wanted = _towards(target, place) * speed
            if np.linalg.norm(target - place) < 0.4:
                target = _sample_place(rng, ground, place)
                wait = rng.uniform(0.5, 2.5) if rng.random() < 0.4 else 0.0
                gaze = rng.normal(0, 30)
        push = push + step * (_SPEED_RATE**2 * (wanted - velocity) - 2 * _SPEED_RATE * push)
        velocity = velocity + step * push
        place = place + velocity * step
        # The body turns the short way, towards the walking direction.
        wish = _yaw(velocity) if speeds[frame] > 0.25 else gaze
        away = (wish - yaw + 180) % 360 - 180
        turn += step * (_TURN_RATE**2 * away - 2 * _TURN_RATE * turn)
        yaw += step * turn
    return places, speeds, yaws


def _yaw(velocity: np.ndarray) -> float:
    return float(np.degrees(np.arctan2(velocity[0], -velocity[1])))


def _sample_place(rng: np.random.Generator, ground: Ground, here: np.ndarray | None) -> np.ndarray:
    """Sample a place to walk to, mostly on the other side of the image, sometimes beyond its border."""
    z = float(np.exp(rng.uniform(np.log(ground.near), np.log(ground.far))))
    half = ground.slope * z
    side = rng.choice([-1.0, 1.0])
    if here is not None and rng.random() < 0.7:
        side = -1.0 if here[0] > 0 else 1.0
    x = half + 0.9 if rng.random() < 0.25 else rng.uniform(0.1, 0.85) * half
    return np.array([side * x, z])


def _towards(target: np.ndarray, place: np.ndarray) -> np.ndarray:
    way = target - place
    return way / max(float(np.linalg.norm(way)), 1e-6)
