# SPDX-License-Identifier: GPL-3.0-or-later
"""Pins: drag one, or a handle, or any place of the skin; take one out; all of them. And the tool that does it."""

from collections.abc import Iterator
from typing import Any

import bpy
import numpy as np

from . import lens, overlay, pump, session, viewport
from . import scene as stage
from .link import Answer
from .operators_match import AnsweredOperator

_TICK = 0.02


def add_pin(obj: Any, photo: int, corners: Any, weights: Any, pixel: Any) -> int:
    """A new pin; returns its number."""
    pin = obj.idto3d_match.pins.add()
    pin.photo, pin.corners, pin.weights, pin.pixel = photo, list(corners), list(weights), list(pixel)
    return len(obj.idto3d_match.pins) - 1


def pulled(scene: Any, obj: Any, answer: Answer) -> str:
    """Take an answer to a change of pins into the file; returns why not, or ""."""
    match = session.get()
    if match is None:
        return "The match is over"
    problem = answer.problem or session.unfit(obj, answer)
    if problem is not None:
        match.problem = problem
        return problem.said
    session.take(scene, obj, match, answer)
    viewport.redraw()
    return ""


class IDTO3D_OT_pin_drag(AnsweredOperator, bpy.types.Operator):
    """Drag a pin, a handle or any place of the skin to where the photo has it"""

    bl_idname = "idto3d.pin_drag"
    bl_label = "Drag Pin"
    bl_options = {"UNDO"}  # in a box of its own a drag would not be told again by these numbers

    pin: bpy.props.IntProperty(name="Pin", default=-1, options={"SKIP_SAVE"})  # type: ignore[valid-type]
    start: bpy.props.FloatVectorProperty(  # type: ignore[valid-type]
        name="From", description="Pixel of the photo; a new pin where there is none", size=2, options={"SKIP_SAVE"}
    )
    pixel: bpy.props.FloatVectorProperty(  # type: ignore[valid-type]
        name="To", description="Pixel of the photo", size=2, options={"SKIP_SAVE"}
    )

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if _camera(context.scene) is None:
            yield "The photo's camera was removed. Leave the match and begin it again"

    def execute(self, context: Any) -> set[str]:
        """For scripts: without a number, the pin at `start` goes to `pixel`, or a new one on the skin there."""
        scene, obj, match = context.scene, stage.matched(context.scene), session.of(context.scene)
        assert match is not None and match.skin is not None
        number = self.pin if self.pin >= 0 else _pinned_at(obj, obj.idto3d_match.photo, self.start)
        if number >= len(obj.idto3d_match.pins):
            self.report({"ERROR"}, "There is no such pin")
            return {"CANCELLED"}
        new = number < 0
        if new:
            hit = lens.pick(stage.pinhole_of(_camera(scene))[0], stage.shown(obj), match.skin, tuple(self.start))
            if hit is None:
                self.report({"ERROR"}, "There is no skin")
                return {"CANCELLED"}
            number = add_pin(obj, obj.idto3d_match.photo, hit.corners, hit.weights, self.pixel)
        pin = obj.idto3d_match.pins[number]
        before, pin.pixel = tuple(pin.pixel), self.pixel
        why = pulled(scene, obj, match.link.wait(match.link.ask(session.request(match, obj))))
        if why:
            if new:
                obj.idto3d_match.pins.remove(number)
            else:
                pin.pixel = before
            _ask_stored(match, obj)
            self.report({"ERROR"}, why)
            return {"CANCELLED"}
        return {"FINISHED"}

    def invoke(self, context: Any, event: Any) -> set[str]:
        scene, obj, match = context.scene, stage.matched(context.scene), session.of(context.scene)
        assert match is not None
        try:
            frame = overlay.Frame(context.region, context.space_data, scene)
        except ValueError:
            return {"PASS_THROUGH"}
        mouse = np.array([event.mouse_region_x, event.mouse_region_y], np.float64)
        found = find(context, obj, frame, mouse)
        if found is None:
            return {"PASS_THROUGH"}
        number, at, place = found
        self._number, self._place, self._offset = number, place, np.array(at) - mouse
        self._photo = frame.photo
        self._goal = frame.to_photo(at)
        self._asked = self._settled = 0
        self._released = False
        self._answer: Answer | None = None
        self._timer = context.window_manager.event_timer_add(_TICK, window=context.window)
        pump.listener = self._heard
        context.window_manager.modal_handler_add(self)
        self._aim(match, obj)
        context.workspace.status_text_set("Drag the pin, Esc: leave it where it was")
        return {"RUNNING_MODAL"}

    def modal(self, context: Any, event: Any) -> set[str]:
        obj, match = stage.matched(context.scene), session.of(context.scene)
        if obj is None or match is None:
            return self._end(context, "The match is over")
        pump.pump()
        if event.type == "MOUSEMOVE" and not self._released:
            frame = overlay.Frame(context.region, context.space_data, context.scene)
            mouse = np.array([event.mouse_region_x, event.mouse_region_y], np.float64)
            self._goal = frame.to_photo(mouse + self._offset)
            self._aim(match, obj)
        elif event.type in {"ESC", "RIGHTMOUSE"} and event.value == "PRESS":
            return self._end(context, "")
        elif event.type == "LEFTMOUSE" and event.value == "RELEASE":
            self._released = True
        if self._answer is not None and self._settled < self._answer.ticket:
            self._settled = self._answer.ticket
            if self._answer.problem is None and session.unfit(obj, self._answer) is None:
                stage.show_pose(obj, self._answer.arrays, self._photo)
                rows = self._answer.event["photos"]
                stage.place_all(context.scene, obj, rows)
            context.area.tag_redraw()
        if self._released and self._answer is not None and self._answer.ticket >= self._asked:
            return self._end(context, None)
        return {"RUNNING_MODAL"}

    def cancel(self, context: Any) -> None:
        self._end(context, "")

    def _pins(self, obj: Any) -> list[dict[str, Any]]:
        """The head's pins with the one that is dragged where it is now."""
        pins = [session.as_pin(pin) for pin in obj.idto3d_match.pins]
        mine = {"photo": self._photo, **self._place, "pixel": list(self._goal)}
        if self._number < 0:
            return [*pins, mine]
        pins[self._number] = mine
        return pins

    def _aim(self, match: session.Match, obj: Any) -> None:
        pins = self._pins(obj)
        match.drag = (self._number, pins[self._number]) if self._number >= 0 else (len(pins) - 1, pins[-1])
        self._asked = match.link.ask(session.request(match, obj, pins=pins))
        viewport.redraw()

    def _heard(self, answer: Answer) -> None:
        match = session.get()
        if match is not None:
            match.problem = answer.problem
        self._answer = answer

    def _end(self, context: Any, why: str | None) -> set[str]:
        """why: None to take the last answer, else why not ("" for a drag that was called off)."""
        context.window_manager.event_timer_remove(self._timer)
        context.workspace.status_text_set(None)
        pump.listener = None
        scene, match = context.scene, session.of(context.scene)
        obj = stage.matched(scene)
        if match is None or obj is None:
            return {"CANCELLED"}
        match.drag = None
        if why is None:
            assert self._answer is not None
            why = pulled(scene, obj, self._answer)
            if not why:
                if self._number < 0:
                    add_pin(obj, self._photo, self._place["corners"], self._place["weights"], self._goal)
                else:
                    obj.idto3d_match.pins[self._number].pixel = self._goal
                return {"FINISHED"}
        if why:
            self.report({"ERROR"}, why)
        _ask_stored(match, obj)
        pump.ensure()
        return {"CANCELLED"}


def _ask_stored(match: session.Match, obj: Any) -> None:
    """The last good state: the pins as they are stored. An answer to others that is late does not count any more."""
    match.first = match.link.ask(session.request(match, obj))


def _camera(scene: Any) -> Any:
    """Of the photo that is shown, or None."""
    shown = stage.matched(scene).idto3d_match.photo
    return next((camera for camera in stage.cameras(scene) if camera[stage.KEY] == shown), None)


def _pinned_at(obj: Any, photo: int, pixel: Any) -> int:
    """Number of the pin at a pixel of a photo, -1 for none."""
    pins = [(n, pin) for n, pin in enumerate(obj.idto3d_match.pins) if pin.photo == photo]
    away = [(float(np.linalg.norm(np.subtract(pin.pixel, pixel))), n) for n, pin in pins]
    best, number = min(away, default=(np.inf, -1))
    return number if best < 1.0 else -1


def _pin_of(obj: Any, photo: int, corners: Any, weights: Any) -> int:
    """Number of the pin that holds a place of the skin in a photo, wherever it is wanted; -1 for none."""
    for number, pin in enumerate(obj.idto3d_match.pins):
        if pin.photo == photo and list(pin.corners) == list(corners) and np.allclose(pin.weights, weights, atol=1e-4):
            return number
    return -1


def find(context: Any, obj: Any, frame: overlay.Frame, mouse: Any) -> tuple[int, Any, dict[str, Any]] | None:
    """What lies under the mouse: a pin's number, or -1 for a handle that has none or the skin; its place in the region;
    on the skin. None where there is nothing of the head."""
    match = session.get()
    assert match is not None and match.skin is not None and match.corners is not None and match.weights is not None
    reach = overlay.REACH * context.preferences.system.ui_scale
    pins = [(n, pin) for n, pin in enumerate(obj.idto3d_match.pins) if pin.photo == frame.photo]
    if pins:
        at = frame.to_region(np.array([list(pin.pixel) for _, pin in pins]))
        away = np.linalg.norm(at - mouse, axis=1)
        best = int(away.argmin())
        if away[best] < reach:
            number, pin = pins[best]
            return number, at[best], {"corners": list(pin.corners), "weights": list(pin.weights)}
    at = frame.to_region(frame.pinhole.project(overlay.places(obj, match.corners, match.weights))[0])
    away = np.linalg.norm(at - mouse, axis=1)
    best = int(away.argmin())
    if away[best] < reach:
        place = {"corners": match.corners[best].tolist(), "weights": match.weights[best].tolist()}
        return _pin_of(obj, frame.photo, **place), at[best], place
    hit = lens.pick(frame.pinhole, stage.shown(obj), match.skin, frame.to_photo(mouse))
    if hit is None:
        return None
    return -1, mouse, {"corners": list(hit.corners), "weights": list(hit.weights)}


class IDTO3D_OT_pin_remove(AnsweredOperator, bpy.types.Operator):
    """Take out the pin under the mouse; the head there goes back to where it was"""

    bl_idname = "idto3d.pin_remove"
    bl_label = "Remove Pin"
    bl_options = {"REGISTER", "UNDO"}

    pin: bpy.props.IntProperty(name="Pin", default=-1, options={"SKIP_SAVE"})  # type: ignore[valid-type]

    def invoke(self, context: Any, event: Any) -> set[str]:
        obj = stage.matched(context.scene)
        try:
            frame = overlay.Frame(context.region, context.space_data, context.scene)
        except ValueError:
            return {"PASS_THROUGH"}
        mouse = np.array([event.mouse_region_x, event.mouse_region_y], np.float64)
        found = find(context, obj, frame, mouse)
        if found is None or found[0] < 0:
            return {"PASS_THROUGH"}
        self.pin = found[0]
        return self.execute(context)

    def execute(self, context: Any) -> set[str]:
        obj = stage.matched(context.scene)
        if not 0 <= self.pin < len(obj.idto3d_match.pins):
            self.report({"ERROR"}, "There is no such pin")
            return {"CANCELLED"}
        return _without(self, context, [self.pin])


class IDTO3D_OT_pins_clear(AnsweredOperator, bpy.types.Operator):
    """Take out all pins; the head goes back to what the photos alone have made"""

    bl_idname = "idto3d.pins_clear"
    bl_label = "Remove All Pins"
    bl_options = {"REGISTER", "UNDO"}
    mends = True

    @classmethod
    def why_not(cls, context: Any) -> Iterator[str]:
        yield from super().why_not(context)
        if not stage.matched(context.scene).idto3d_match.pins:
            yield "There are no pins"

    def execute(self, context: Any) -> set[str]:
        return _without(self, context, list(range(len(stage.matched(context.scene).idto3d_match.pins))))


def _without(operator: Any, context: Any, numbers: list[int]) -> set[str]:
    """Take pins out, once the backend has said what the head is like without them: some hundredths of a second."""
    scene, obj, match = context.scene, stage.matched(context.scene), session.of(context.scene)
    assert match is not None
    pins = obj.idto3d_match.pins
    left = [session.as_pin(pin) for n, pin in enumerate(pins) if n not in numbers]
    why = pulled(scene, obj, match.link.wait(match.link.ask(session.request(match, obj, pins=left)), 5.0))
    if why:
        _ask_stored(match, obj)
        operator.report({"ERROR"}, why)
        return {"CANCELLED"}
    for number in reversed(numbers):
        pins.remove(number)
    return {"FINISHED"}


class IDTO3D_pins_tool(bpy.types.WorkSpaceTool):
    """The tool while a head is matched"""

    bl_space_type = "VIEW_3D"
    bl_context_mode = "OBJECT"
    bl_idname = viewport.TOOL
    bl_label = "Pins"
    bl_description = (
        "Drag a handle, a pin or any place of the skin to where the photo has it.\nRight click takes a pin out"
    )
    bl_icon = "ops.generic.select"
    bl_keymap = (
        ("idto3d.pin_drag", {"type": "LEFTMOUSE", "value": "PRESS"}, None),
        ("idto3d.pin_remove", {"type": "RIGHTMOUSE", "value": "PRESS"}, None),
    )


_CLASSES = (IDTO3D_OT_pin_drag, IDTO3D_OT_pin_remove, IDTO3D_OT_pins_clear)


def register() -> None:
    for one in _CLASSES:
        bpy.utils.register_class(one)
    if not bpy.app.background:
        bpy.utils.register_tool(IDTO3D_pins_tool)


def unregister() -> None:
    if not bpy.app.background:
        bpy.utils.unregister_tool(IDTO3D_pins_tool)
    for one in reversed(_CLASSES):
        bpy.utils.unregister_class(one)
