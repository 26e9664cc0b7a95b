// A view that stays at the end while an answer grows, until the reader looks up.

import { useEffect, useLayoutEffect, useRef } from "preact/hooks";

/** Pixels from the end at which somebody who scrolls down takes hold of it again. */
const nearEnd = 64;
/** Milliseconds in which a browser may still be on its smooth way to where the reader sent it. */
const smoothWay = 700;

/**
 * Keeps a scrolled element, whose first child grows, at its end. Any way up lets go, and the wheel, key or finger does so
 * before anything has moved: a browser that scrolls smoothly begins with a pixel, and going to the end again in the same
 * frame would end its way. Coming back to the end takes hold again, and so do another conversation and an answer that
 * begins (`growing`); the end of an answer moves nothing.
 */
export function useFollow(conversation: string, growing: string | undefined) {
  const scroller = useRef<HTMLDivElement>(null);
  const follows = useRef(true);
  useLayoutEffect(() => {
    follows.current = true;
  }, [conversation]);
  useLayoutEffect(() => {
    if (growing !== undefined) follows.current = true;
  }, [growing]);
  useEffect(() => {
    const element = scroller.current!;
    // Where the view stood, and how long the text was, when the reader last saw them. An event says that the view moved,
    // but comes later: the text may have grown since, and a move of ours is none of the reader's.
    let last = element.scrollTop, height = element.scrollHeight;
    let sentDown = -smoothWay;
    const onScroll = ({ timeStamp }: Event) => {
      const { scrollTop, scrollHeight, clientHeight } = element;
      const left = Math.min(height, scrollHeight) - scrollTop - clientHeight;
      // A text or a window that became shorter moves the view up, too; that is not the reader. Neither is a smooth way to
      // what was the end, which goes on, and so back, after the view was put to the new one.
      const isUp = scrollTop < last && scrollHeight >= height && left > 0 && timeStamp > sentDown + smoothWay;
      if (scrollTop > last && left <= nearEnd) follows.current = true;
      else if (isUp) follows.current = false;
      last = scrollTop;
      height = scrollHeight;
    };
    const send = (isUp: boolean, { timeStamp }: Event) => {
      sentDown = isUp ? -smoothWay : timeStamp;
      if (isUp && element.scrollTop > 0) follows.current = false;
    };
    const onWheel = (event: WheelEvent) => event.deltaY !== 0 && send(event.deltaY < 0, event);
    const onKey = (event: KeyboardEvent) => {
      if (/^(?:Arrow|Page)(?:Up|Down)$|^(?:Home|End)$/.test(event.key)) {
        send(/Up|Home/.test(event.key), event);
      }
    };
    let finger = 0;
    const onTouch = (event: TouchEvent) => {
      const { clientY } = event.touches[0]!;
      if (event.type === "touchmove" && clientY !== finger) send(clientY > finger, event);
      finger = clientY;
    };
    const resized = new ResizeObserver(() => {
      height = element.scrollHeight;
      if (!follows.current) return;
      element.scrollTop = height;
      last = element.scrollTop;
    });
    const ended = new AbortController();
    const listening = { passive: true, signal: ended.signal };
    element.addEventListener("scroll", onScroll, listening);
    element.addEventListener("wheel", onWheel, listening);
    element.addEventListener("keydown", onKey, listening);
    element.addEventListener("touchstart", onTouch, listening);
    element.addEventListener("touchmove", onTouch, listening);
    resized.observe(element.firstElementChild!);
    resized.observe(element);
    return () => {
      ended.abort();
      resized.disconnect();
    };
  }, []);
  return scroller;
}
